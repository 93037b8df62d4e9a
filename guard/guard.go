// Package guard says which datagrams may be answered at all. An answer to a
// datagram goes to whoever its sender says that he is, so a service that
// answers everything can be set talking to another one for ever, or to a
// victim: CVE-2024-2169, RFC 768's want of a handshake.
package guard

import (
	"net/netip"
	"slices"
)

// Verdict says whether a datagram is answered, and if not, why.
type Verdict uint8

const (
	Pass       Verdict = iota
	SourcePort         // from a port that clients do not use: 0, or one of the system's services
	OwnPort            // from one of our own service ports
	SourceAddr         // from an address that is nobody's, or many's
	OwnAnswer          // it reads as an answer of ours
	Invalid            // it is no request in the dialect that is spoken here
	NumVerdicts
)

var verdicts = [NumVerdicts]string{"pass", "source_port", "own_port", "source_address", "own_answer", "invalid"}

// String returns the verdict as metrics name it.
func (v Verdict) String() string { return verdicts[v] }

// systemPorts are those below it: RFC 6335, section 6. Services answer from
// them; clients do not ask from them.
const systemPorts = 1024

// Guard judges the datagrams of one socket. It belongs to one goroutine.
type Guard struct {
	own     []uint16
	clients []uint16
}

// New returns a guard for a service whose own ports are these. Clients may be
// at ports from 1024 on, and at those system ports that the dialect's clients
// use.
func New(own, clients []uint16) *Guard {
	return &Guard{own: slices.Clone(own), clients: slices.Clone(clients)}
}

// Source judges where a datagram says that it is from.
func (g *Guard) Source(src netip.AddrPort) Verdict {
	port := src.Port()
	if port < systemPorts && !slices.Contains(g.clients, port) {
		return SourcePort
	}
	if slices.Contains(g.own, port) && !slices.Contains(g.clients, port) {
		return OwnPort
	}
	if a := src.Addr(); a.IsMulticast() || a.IsUnspecified() || a == broadcast {
		return SourceAddr
	}
	return Pass
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})
