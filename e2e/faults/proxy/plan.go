package proxy

import (
	"math/rand/v2"
	"time"
)

// Never is an offset that no connection reaches.
const Never = -1

// Plan is what the proxy does to one connection. Offsets count the bytes of its requests, from the client to the server, or of
// its answers, from the server to the client. They do not count the connection's number.
type Plan struct {
	Piece int           // bytes forwarded at once, in both directions; 0: as they come
	Pause time.Duration // between two pieces of the requests

	Requests Stall
	Answers  Stall
	Window   int // receive window of the connection to the server, in bytes; 0: the kernel's default

	// HalfClose is the offset in the requests at which the proxy half-closes towards the server. It discards the rest of
	// the requests, and still forwards answers. Never: no half-close.
	HalfClose int
	// Reset is the offset in the requests at which the proxy resets both connections: RFC 9293, section 3.10.7. Never: no
	// reset.
	Reset int
}

// Stall is a time in which the proxy neither reads nor forwards.
type Stall struct {
	After int // offset
	For   time.Duration
}

// Faithful is the plan of a proxy that only forwards.
var Faithful = Plan{HalfClose: Never, Reset: Never}

// Random returns a plan for a connection whose requests have this many bytes. A plan may have several faults at once. A
// fifth of the plans end the connection early, and at least a fifth are faithful.
func Random(r *rand.Rand, length int) Plan {
	p := Faithful
	if r.IntN(5) == 0 {
		return p
	}
	if r.IntN(2) == 0 {
		// Small pieces cut words. Large pieces arrive several at a time.
		p.Piece = 1 + r.IntN(1<<r.IntN(11))
		// Limit the time of a long connection.
		p.Pause = time.Duration(r.Int64N(int64(20*time.Millisecond))) * time.Duration(p.Piece) / time.Duration(length+p.Piece)
	}
	if r.IntN(10) == 0 {
		p.Requests = Stall{r.IntN(length + 1), time.Duration(r.Int64N(int64(100 * time.Millisecond)))}
	}
	if r.IntN(10) == 0 {
		p.Answers = Stall{r.IntN(2*length + 1), time.Duration(r.Int64N(int64(100 * time.Millisecond)))}
		p.Window = 1 << (10 + r.IntN(6))
	}
	switch r.IntN(8) {
	case 0:
		p.HalfClose = r.IntN(length + 1)
	case 1:
		p.Reset = r.IntN(length + 1)
	}
	return p
}

// end is the greatest number of bytes of the requests that the proxy forwards, or Never for all.
func (p Plan) end() int {
	if p.HalfClose == Never || p.Reset != Never && p.Reset < p.HalfClose {
		return p.Reset
	}
	return p.HalfClose
}
