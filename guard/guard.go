// Package guard decides which datagrams may be answered. An answer goes to the source
// of the datagram, and the source may be spoofed. Without a guard, nowd could be used
// as a reflector that floods a victim, or be drawn into an endless reply loop with
// another service (CVE-2024-2169).
package guard

import (
	"net/netip"
	"slices"
	"time"
)

// Verdict is the decision of a Guard about a datagram: Pass, or the reason to drop it.
type Verdict uint8

const (
	Pass       Verdict = iota
	SourcePort         // the source port is 0, or a system port that no client of the protocol uses
	OwnPort            // the source port is one of the service's own ports
	SourceAddr         // the source address is unspecified, multicast or broadcast
	DestAddr           // the destination address is multicast or broadcast
	Short              // the datagram is shorter than a request
	OwnAnswer          // the datagram reads as an answer of nowd
	ReplyLoop          // the source may be in a reply loop with nowd: breaker.go
	RateLimit          // the source is over the limit: limiter.go
	TotalLimit         // all sources together are over the limit
	numVerdicts
)

// NumVerdicts is the number of verdicts.
const NumVerdicts = int(numVerdicts)

var verdictNames = [NumVerdicts]string{"pass", "source_port", "own_port", "source_address", "destination_address", "short", "own_answer", "reply_loop", "rate_limit", "total_limit"}

// String returns the verdict's name. For a reason to drop it is the name in metrics.
func (v Verdict) String() string { return verdictNames[v] }

// Drops returns the reasons to drop a datagram: all verdicts but Pass.
func Drops() (drops []Verdict) {
	for v := Pass + 1; v < numVerdicts; v++ {
		drops = append(drops, v)
	}
	return drops
}

// systemPorts is the number of system ports, 0 to 1023: RFC 6335, section 6. Services
// answer from system ports. Clients do not ask from them.
const systemPorts = 1024

// Config configures a Guard.
type Config struct {
	Ports    []uint16               // the service's own ports: a datagram from one of them is an answer
	Clients  []uint16               // ports from which clients of this protocol may ask, although they are system ports or in Ports
	MinSize  int                    // minimum length of a request, in bytes
	IsAnswer func(data []byte) bool // reports whether a datagram reads as an answer of nowd
	Sources  *Sources               // breaker and rate limit of each source; nil for neither
	Total    *Bucket                // rate limit for all sources together; nil for none
}

// Guard judges the datagrams of one loop. It is for one goroutine.
type Guard struct{ config Config }

// New returns a Guard.
func New(c Config) *Guard { return &Guard{c} }

// Judge returns the verdict on a datagram from src. multicast is true if the
// destination is a multicast or broadcast address. data is the datagram, or its
// beginning. now is on a monotonic clock.
//
// A datagram that passes counts for the breaker and the limits. One that is over a
// limit counts for the breaker as well, since it may be answered with a kiss. One that
// is over the total limit also counts for its source's limit.
func (g *Guard) Judge(src netip.AddrPort, multicast bool, data []byte, now time.Duration) Verdict {
	c := &g.config
	if multicast {
		return DestAddr
	}
	switch port := src.Port(); {
	case slices.Contains(c.Clients, port):
	case port < systemPorts:
		return SourcePort
	case slices.Contains(c.Ports, port):
		return OwnPort
	}
	switch a := src.Addr(); {
	case a.IsMulticast() || a.IsUnspecified() || a == broadcast:
		return SourceAddr
	case len(data) < c.MinSize:
		return Short
	case c.IsAnswer(data):
		return OwnAnswer
	}
	// The source's limit comes before the total: a source that is over its own limit
	// must not use up the total for the others.
	if c.Sources != nil {
		if v := c.Sources.judge(src, now); v != Pass {
			return v
		}
	}
	if !g.AllowTotal(now) {
		return TotalLimit
	}
	return Pass
}

// AllowTotal counts one answer for the limit of all sources together. It reports
// whether that limit allows the answer at now. Judge calls it for a datagram that
// passes. A caller that answers a dropped datagram, with a kiss for example, calls it
// as well.
func (g *Guard) AllowTotal(now time.Duration) bool {
	return g.config.Total == nil || g.config.Total.Allow(now)
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
