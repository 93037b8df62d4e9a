//go:build linux

package faults_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

// expense is the cost of an attack to the attacker. Several goroutines may change its fields.
type expense struct {
	datagrams   atomic.Int64
	connections atomic.Int64 // number of connections opened
	held        atomic.Int64 // the greatest number of connections at a time
	bytes       atomic.Int64 // written to connections
}

func (e *expense) add(other *expense) {
	e.datagrams.Add(other.datagrams.Load())
	e.connections.Add(other.connections.Load())
	e.held.Store(max(e.held.Load(), other.held.Load()))
	e.bytes.Add(other.bytes.Load())
}

// perSecond describes the cost of an attack that the attacker can continue, per second.
func (e *expense) perSecond(took time.Duration) string {
	return e.tell("/s", func(n int64) float64 { return float64(n) / took.Seconds() })
}

// each describes the cost of one round of an attack that ends by itself.
func (e *expense) each(rounds int) string {
	return e.tell("", func(n int64) float64 { return float64(n) / float64(rounds) })
}

func (e *expense) tell(unit string, share func(n int64) float64) string {
	var all []string
	say := func(n float64, one, many string) {
		what := many
		if n < 1.5 {
			what = one
		}
		all = append(all, grouped(int(n+0.5))+" "+what)
	}
	if n := e.datagrams.Load(); n > 0 {
		say(share(n), "datagram"+unit, "datagrams"+unit)
	}
	if n := e.held.Load(); n > 0 {
		say(float64(n), "connection at a time", "connections at a time")
	}
	if n := e.connections.Load(); n > 0 {
		say(share(n), "connect"+unit, "connects"+unit)
	}
	if n := e.bytes.Load(); n > 0 {
		all = append(all, fmt.Sprintf("%s kB%s", grouped(int(share(n)/1e3+0.5)), unit))
	}
	if all == nil {
		return "nothing"
	}
	return strings.Join(all, ", ")
}
