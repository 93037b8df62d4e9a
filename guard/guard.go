// Package guard says which datagrams may be answered at all. An answer to a
// datagram goes to whoever its sender says that he is, so a service that
// answers everything can be set talking to another one for ever, or to a
// victim: CVE-2024-2169, RFC 768's want of a handshake.
package guard

import (
	"net/netip"
	"slices"
	"time"
)

// Verdict says whether a datagram is answered, and if not, why.
type Verdict uint8

const (
	Pass       Verdict = iota
	SourcePort         // from a port that clients do not use: 0, or one of the system's services
	OwnPort            // from one of our own service ports
	SourceAddr         // from an address that is nobody's, or many's
	DestAddr           // to an address that many listen to
	Short              // shorter than requests have to be
	OwnAnswer          // it reads as an answer of ours
	RateLimit          // its source has had as many answers as it gets
	TotalLimit         // all sources together have
	Invalid            // it is no request in the dialect that is spoken here
	Untrusted          // the clock is not to be trusted, and the dialect cannot say so
	NumVerdicts
)

var verdicts = [NumVerdicts]string{"pass", "source_port", "own_port", "source_address", "destination_address", "short", "own_answer", "rate_limit", "total_limit", "invalid", "untrusted"}

// String returns the verdict as metrics name it.
func (v Verdict) String() string { return verdicts[v] }

// systemPorts are those below it: RFC 6335, section 6. Services answer from
// them; clients do not ask from them.
const systemPorts = 1024

// Config says what a Guard is to guard.
type Config struct {
	Ports    []uint16               // our own: whoever sends from them is a service like us
	Clients  []uint16               // the system ports that clients of this dialect use all the same
	MinSize  int                    // of a request
	IsAnswer func(data []byte) bool // whether a datagram reads as one of our answers
	Limiter  *Limiter               // nil for no limit
	Total    *Bucket                // for all sources together; nil for no limit
}

// Guard judges the datagrams of one loop. It belongs to one goroutine.
type Guard struct{ Config }

// New returns a guard.
func New(c Config) *Guard { return &Guard{c} }

// Judge judges a datagram by where it says that it is from and how it begins;
// DestAddr, Invalid and Untrusted are for the caller to find. now is on a
// monotonic clock.
func (g *Guard) Judge(src netip.AddrPort, data []byte, now time.Duration) Verdict {
	switch port := src.Port(); {
	case slices.Contains(g.Clients, port):
	case port < systemPorts:
		return SourcePort
	case slices.Contains(g.Ports, port):
		return OwnPort
	}
	switch a := src.Addr(); {
	case a.IsMulticast() || a.IsUnspecified() || a == broadcast:
		return SourceAddr
	case len(data) < g.MinSize:
		return Short
	case g.IsAnswer(data):
		return OwnAnswer
	// The limits come last, a source's own before that of all: who is over his
	// own takes nothing from the others.
	case g.Limiter != nil && !g.Limiter.Allow(a, now):
		return RateLimit
	case g.Total != nil && !g.Total.Allow(now):
		return TotalLimit
	}
	return Pass
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
