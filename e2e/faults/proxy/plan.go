package proxy

import (
	"math/rand/v2"
	"time"
)

// Never is an offset that no connection reaches.
const Never = -1

// Plan is what happens to one connection. Offsets count the bytes of its requests, which flow from the client to the
// server, or of its answers, which flow back; the connection's number is not among them.
type Plan struct {
	Piece int           // how many bytes are passed on at once, in both directions; 0 for as they come
	Pause time.Duration // between two pieces of the requests

	Requests Stall
	Answers  Stall
	Window   int // of the connection to the server, for its answers, in bytes; 0 for the kernel's choice

	// HalfClose is how many bytes of the requests the server gets before it sees their end. The rest is read and
	// thrown away; answers go on. Never, for all.
	HalfClose int
	// Reset is how many bytes of the requests are passed on before both connections are reset: RFC 9293, section
	// 3.10.7. Never, for none.
	Reset int
}

// Stall is a time in which nothing is read and nothing passed on.
type Stall struct {
	After int // bytes
	For   time.Duration
}

// Faithful is the plan of a proxy that only passes on.
var Faithful = Plan{HalfClose: Never, Reset: Never}

// Random returns a plan for a connection with so many bytes of requests. Most connections suffer from several things at
// once, a fifth ends early, and a fifth of all is left alone.
func Random(r *rand.Rand, length int) Plan {
	p := Faithful
	if r.IntN(5) == 0 {
		return p
	}
	if r.IntN(2) == 0 {
		// Small pieces are what cuts words; large ones arrive several at a time.
		p.Piece = 1 + r.IntN(1<<r.IntN(11))
		// A long connection is not to take for ever.
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

// end is how many bytes of the requests are passed on at the most, or Never if all are.
func (p Plan) end() int {
	if p.HalfClose == Never || p.Reset != Never && p.Reset < p.HalfClose {
		return p.Reset
	}
	return p.HalfClose
}
