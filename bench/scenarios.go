//go:build linux

package main

import (
	"slices"
	"time"
)

// scenario is a load, and the figures to compare under it.
type scenario struct {
	name    string
	about   string // for the help
	load    loadConfig
	figures []figure // the main figure first
	rounds  rounds
	counted bool     // count system calls, with strace
	loops   bool     // compare nowd with two loops and nowd with one
	xdp     *xdpLoad // compare XDP and sockets; nil otherwise
}

// xdpLoad is a load from a program in the kernel: see xdp.go.
type xdpLoad struct {
	ntp  bool // otherwise text
	full bool // as many requests as the program can send
}

// rounds is the number of rounds of a scenario, relative to -pairs.
type rounds int

const (
	allRounds  rounds = iota
	halfRounds        // slow, or each round gives a distribution
	twoRounds         // sizes of memory
	oneRound          // counts
)

// of returns the number of rounds if -pairs is pairs.
func (r rounds) of(pairs int) int {
	switch r {
	case halfRounds:
		return (pairs + 1) / 2
	case twoRounds:
		return min(pairs, 2)
	case oneRound:
		return 1
	}
	return pairs
}

// figure is a number computed from a result.
type figure struct {
	name string
	of   func(result) float64
	more bool // more is better
}

var (
	runTimePerAnswer = figure{name: "CPU, ns/answer", of: func(r result) float64 { return per(float64(r.RunTime), r.Answers) }}
	wholeCost        = figure{name: "CPU of the machine, ns/answer", of: runTimePerAnswer.of}
	perCPUSecond     = figure{name: "answers/s of CPU, load included", of: func(r result) float64 { return float64(r.Answers) / r.AllTime.Seconds() }, more: true}
	answersPerSecond = figure{name: "answers/s", of: func(r result) float64 { return float64(r.Answers) / r.Elapsed.Seconds() }, more: true}
	busy             = figure{name: "server busy, %", of: func(r result) float64 { return 100 * float64(r.RunTime) / float64(r.Elapsed) }}
	lost             = figure{name: "lost, ppm", of: func(r result) float64 { return 1e6 * per(float64(r.Lost), r.Answers) }}
	roundTripP50     = figure{name: "round trip p50, µs", of: func(r result) float64 { return micros(r.RoundTrip.P50) }}
	roundTripP99     = figure{name: "round trip p99, µs", of: func(r result) float64 { return micros(r.RoundTrip.P99) }}
	ageP50           = figure{name: "age p50, µs", of: func(r result) float64 { return micros(r.Age.P50) }}
	ageP99           = figure{name: "age p99, µs", of: func(r result) float64 { return micros(r.Age.P99) }}
	ageMax           = figure{name: "age max, µs", of: func(r result) float64 { return micros(r.Age.Max) }}
	residentPerConn  = figure{name: "bytes/connection", of: func(r result) float64 { return per(float64(r.Resident), r.All) }}
	callsPerAnswer   = figure{name: "system calls/answer", of: func(r result) float64 { return per(float64(r.Calls), r.All) }}
)

func per(v float64, n uint64) float64 { return v / float64(max(n, 1)) }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// agePrefix and the name of a scenario make the name of the scenario that measures the age
// of the answers under the same load.
const agePrefix = "age/"

func scenarios() []scenario {
	load := func(network string, sockets, depth int) loadConfig {
		return loadConfig{Network: network, Sockets: sockets, Depth: depth}
	}
	ages := func(l loadConfig) loadConfig { l.Ages = true; return l }
	idle := func(l loadConfig) loadConfig { l.Idle = true; return l }
	cost := []figure{runTimePerAnswer, answersPerSecond, busy}
	inTurn := []figure{runTimePerAnswer, roundTripP50, roundTripP99}
	costUDP := append(slices.Clip(cost), lost)
	costTCP := append(slices.Clip(cost), roundTripP50, roundTripP99)
	age := []figure{ageP50, ageP99, ageMax}
	calls := []figure{callsPerAnswer}
	inDriver := []figure{wholeCost, answersPerSecond, lost}
	return []scenario{
		{name: "udp/4x64", about: "CPU over UDP: 4 sockets, 64 requests in flight on each", load: load("udp", 4, 64), figures: costUDP},
		{name: "udp/1x1", about: "CPU over UDP: one request at a time", load: load("udp", 1, 1), figures: inTurn},
		{name: "tcp/1x1", about: "CPU over TCP: one request at a time", load: load("tcp", 1, 1), figures: inTurn},
		{name: "tcp/64x1", about: "CPU over TCP: 64 connections, one request in flight on each", load: load("tcp", 64, 1), figures: costTCP},
		{name: "tcp/1000x1", about: "CPU over TCP: 1,000 connections, one request in flight on each", load: load("tcp", 1000, 1), figures: costTCP},
		{name: "tcp/10000x1", about: "CPU over TCP: 10,000 connections, one request in flight on each", load: load("tcp", 10_000, 1), figures: costTCP, rounds: halfRounds},
		{name: "tcp/64x16", about: "CPU over TCP: 64 connections, 16 pipelined requests on each", load: load("tcp", 64, 16), figures: costTCP},

		{name: agePrefix + "udp/4x64", about: "age of answers over UDP: 4 sockets, 64 requests in flight on each", load: ages(load("udp", 4, 64)), figures: age, rounds: halfRounds},
		{name: agePrefix + "udp/1x1", about: "age of answers over UDP: one request at a time", load: ages(load("udp", 1, 1)), figures: age, rounds: halfRounds},
		{name: agePrefix + "tcp/64x1", about: "age of answers over TCP: 64 connections, one request in flight on each", load: ages(load("tcp", 64, 1)), figures: age, rounds: halfRounds},

		{name: "calls/udp/4x64", about: "system calls over UDP: 4 sockets, 64 requests in flight on each; needs strace", load: load("udp", 4, 64), figures: calls, rounds: oneRound, counted: true},
		{name: "calls/udp/1x1", about: "system calls over UDP: one request at a time; needs strace", load: load("udp", 1, 1), figures: calls, rounds: oneRound, counted: true},
		{name: "calls/tcp/64x1", about: "system calls over TCP: 64 connections, one request in flight on each; needs strace", load: load("tcp", 64, 1), figures: calls, rounds: oneRound, counted: true},
		{name: "calls/tcp/64x16", about: "system calls over TCP: 64 connections, 16 pipelined requests on each; needs strace", load: load("tcp", 64, 16), figures: calls, rounds: oneRound, counted: true},

		{name: "idle/tcp/15000", about: "resident memory of 15,000 idle connections", load: idle(load("tcp", 15_000, 1)), figures: []figure{residentPerConn}, rounds: twoRounds},

		// Many sockets, because the kernel assigns each to a random loop.
		{name: "loops/udp/32x8", about: "CPU of nowd over UDP, two loops against one: 32 sockets, 8 requests in flight on each", load: load("udp", 32, 8), figures: cost, rounds: halfRounds, loops: true},
		{name: "loops/tcp/64x1", about: "CPU of nowd over TCP, two loops against one: 64 connections, one request in flight on each", load: load("tcp", 64, 1), figures: cost, rounds: halfRounds, loops: true},

		{name: "xdp/text", about: "CPU of the machine, answers of the driver against answers of sockets, text; needs root", xdp: &xdpLoad{}, figures: inDriver},
		{name: "xdp/ntp", about: "CPU of the machine, answers of the driver against answers of sockets, NTP; needs root", xdp: &xdpLoad{ntp: true}, figures: inDriver},
		{name: "xdp/full/text", about: "answers of the driver alone, as many as one processor can request, text; needs root", xdp: &xdpLoad{full: true}, figures: []figure{perCPUSecond, answersPerSecond, wholeCost, lost}, rounds: halfRounds},
		{name: "xdp/full/ntp", about: "answers of the driver alone, as many as one processor can request, NTP; needs root", xdp: &xdpLoad{ntp: true, full: true}, figures: []figure{perCPUSecond, answersPerSecond, wholeCost, lost}, rounds: halfRounds},
	}
}

// small returns the scenario with at most 200 sockets, for -quick.
func (s scenario) small() scenario {
	s.load.Sockets = min(s.load.Sockets, 200)
	return s
}
