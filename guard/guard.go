// Package guard decides which datagrams may be answered. The answer to a datagram
// goes to the address that it claims to come from, so a service that answers
// everything can be made to talk to another one for ever, or to flood a victim
// (CVE-2024-2169).
package guard

import (
	"net/netip"
	"slices"
	"time"
)

// Verdict is what a Guard decides about a datagram: to let it pass, or to drop it
// for one reason.
type Verdict uint8

const (
	Pass       Verdict = iota
	SourcePort         // its source port is 0, or a system port that no client of the dialect uses
	OwnPort            // its source port is one of the service's own ports
	SourceAddr         // its source address is unspecified, multicast or broadcast
	DestAddr           // its destination address is multicast or broadcast
	Short              // it is shorter than requests have to be
	OwnAnswer          // it reads as an answer of nowd's
	ReplyLoop          // its source has been answered so often in a row that it may be a service that answers answers
	RateLimit          // its source is over the limit
	TotalLimit         // all sources together are over the limit
	numVerdicts
)

// NumVerdicts is the number of verdicts.
const NumVerdicts = int(numVerdicts)

var verdictNames = [NumVerdicts]string{"pass", "source_port", "own_port", "source_address", "destination_address", "short", "own_answer", "reply_loop", "rate_limit", "total_limit"}

// String returns the verdict's name. A reason to drop has the name that metrics
// have for it.
func (v Verdict) String() string { return verdictNames[v] }

// Drops returns the verdicts by which a datagram is dropped: all but Pass.
func Drops() (drops []Verdict) {
	for v := Pass + 1; v < numVerdicts; v++ {
		drops = append(drops, v)
	}
	return drops
}

// systemPorts is the first port that is no system port (RFC 6335, section 6).
// Services answer from system ports; clients do not ask from them.
const systemPorts = 1024

// Config configures a Guard.
type Config struct {
	Ports    []uint16               // the service's own ports: a datagram from one of them is an answer
	Clients  []uint16               // system ports from which clients of this dialect may ask
	MinSize  int                    // the least length of a request, in bytes
	IsAnswer func(data []byte) bool // reports whether a datagram reads as an answer of nowd's
	Sources  *Sources               // the breaker and the limit of each source; nil for neither
	Total    *Bucket                // the limit for all sources together; nil for none
}

// Guard judges the datagrams of one loop. It belongs to one goroutine.
type Guard struct{ config Config }

// New returns a Guard.
func New(c Config) *Guard { return &Guard{c} }

// Judge returns the verdict on a datagram from src. multicast says whether its
// destination is a multicast or broadcast address, and data is its beginning. now
// is on a monotonic clock. A datagram that passes counts for the breaker and the
// limits.
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
	// What concerns the source comes before the limit for all: a source that is over
	// its own limit must not use up what is left for the others.
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

// AllowTotal takes one answer out of the limit for all sources together, and
// reports whether there was one left at now. Judge calls it for a datagram that
// passes. A caller that answers a datagram after all calls it as well.
func (g *Guard) AllowTotal(now time.Duration) bool {
	return g.config.Total == nil || g.config.Total.Allow(now)
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
