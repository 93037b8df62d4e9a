//go:build linux

package main

import (
	"slices"
	"time"
)

// scenario is something to compare.
type scenario struct {
	name    string
	about   string
	load    loadConfig
	figures []figure // the first is what the scenario is for
	rounds  rounds
	counted bool // system calls are, by strace
	loops   bool // nowd with two loops is measured against nowd with one
	xdp     *xdpLoad
}

// xdpLoad is a load that a program in the kernel makes: xdp.go.
type xdpLoad struct {
	ntp  bool // otherwise text
	full bool // as many requests as the program can send
}

// rounds says how many rounds a scenario takes.
type rounds int

const (
	allRounds  rounds = iota
	halfRounds        // of what takes long, or has a distribution in each round already
	twoRounds         // of what is weighed, not timed
	oneRound          // of what is counted
)

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

// figure is a number that a measurement gives.
type figure struct {
	name string
	of   func(result) float64
	// more is whether a larger one is better.
	more bool
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

// agePrefix begins the name of the scenario that measures the age of the answers
// in the scenario with the rest of the name.
const agePrefix = "age/"

// scenarios returns all scenarios.
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
		{name: "udp/4x64", about: "4 sockets, 64 requests under way on each", load: load("udp", 4, 64), figures: costUDP},
		{name: "udp/1x1", about: "one request at a time", load: load("udp", 1, 1), figures: inTurn},
		{name: "tcp/1x1", about: "one request at a time", load: load("tcp", 1, 1), figures: inTurn},
		{name: "tcp/64x1", about: "64 connections, one request under way on each", load: load("tcp", 64, 1), figures: costTCP},
		{name: "tcp/1000x1", about: "1,000 connections", load: load("tcp", 1000, 1), figures: costTCP},
		{name: "tcp/10000x1", about: "10,000 connections", load: load("tcp", 10_000, 1), figures: costTCP, rounds: halfRounds},
		{name: "tcp/64x16", about: "64 connections, 16 requests in one go on each", load: load("tcp", 64, 16), figures: costTCP},

		{name: agePrefix + "udp/4x64", about: "age of the answers, from the reading of the clock to when the answer leaves", load: ages(load("udp", 4, 64)), figures: age, rounds: halfRounds},
		{name: agePrefix + "udp/1x1", about: "age of the answers, one request at a time", load: ages(load("udp", 1, 1)), figures: age, rounds: halfRounds},
		{name: agePrefix + "tcp/64x1", about: "age of the answers on 64 connections", load: ages(load("tcp", 64, 1)), figures: age, rounds: halfRounds},

		{name: "calls/udp/4x64", about: "system calls, counted by strace, which slows the server down: it is never idle", load: load("udp", 4, 64), figures: calls, rounds: oneRound, counted: true},
		{name: "calls/udp/1x1", about: "the same for one request at a time", load: load("udp", 1, 1), figures: calls, rounds: oneRound, counted: true},
		{name: "calls/tcp/64x1", about: "the same over TCP", load: load("tcp", 64, 1), figures: calls, rounds: oneRound, counted: true},
		{name: "calls/tcp/64x16", about: "the same for 16 requests in one go", load: load("tcp", 64, 16), figures: calls, rounds: oneRound, counted: true},

		{name: "idle/tcp/15000", about: "memory for 15,000 connections that have asked once", load: idle(load("tcp", 15_000, 1)), figures: []figure{residentPerConn}, rounds: twoRounds},

		// Many sockets, since the kernel gives each to one loop by chance.
		{name: "loops/udp/32x8", about: "nowd with two loops against nowd with one", load: load("udp", 32, 8), figures: cost, rounds: halfRounds, loops: true},
		{name: "loops/tcp/64x1", about: "the same over TCP", load: load("tcp", 64, 1), figures: cost, rounds: halfRounds, loops: true},

		{name: "xdp/text", about: "answers of the driver against those of sockets, on a veth pair; takes root", xdp: &xdpLoad{}, figures: inDriver},
		{name: "xdp/ntp", about: "the same over NTP", xdp: &xdpLoad{ntp: true}, figures: inDriver},
		{name: "xdp/full/text", about: "the driver alone, with as many requests as one processor can send", xdp: &xdpLoad{full: true}, figures: []figure{perCPUSecond, answersPerSecond, wholeCost, lost}, rounds: halfRounds},
		{name: "xdp/full/ntp", about: "the same over NTP", xdp: &xdpLoad{ntp: true, full: true}, figures: []figure{perCPUSecond, answersPerSecond, wholeCost, lost}, rounds: halfRounds},
	}
}

// small returns the scenario with a load that takes no time to set up.
func (s scenario) small() scenario {
	s.load.Sockets = min(s.load.Sockets, 200)
	return s
}
