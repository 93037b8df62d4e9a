package tcp

import (
	"bytes"
	"fmt"

	"nowd/answer"
)

// Framing is how requests in a stream are told apart.
type Framing uint8

const (
	Burst Framing = iota // a line, or what is left when the client pauses
	Line                 // whole lines only
)

// UnmarshalText accepts "burst" and "line".
func (f *Framing) UnmarshalText(text []byte) error {
	switch string(text) {
	case "burst":
		*f = Burst
	case "line":
		*f = Line
	default:
		return fmt.Errorf("want burst or line")
	}
	return nil
}

// String returns "burst" or "line".
func (f Framing) String() string {
	if f == Line {
		return "line"
	}
	return "burst"
}

// maxLine is how long a request is at the most. A longer one is answered once
// it is known to be, and the rest of its line is skipped.
const maxLine = 1024

// kind says what stands at the beginning of a connection's input.
type kind uint8

const (
	rest    kind = iota // the beginning of a request, or nothing
	skipped             // of a line that is too long, and answered already
	line                // a request
	head                // the head of a request in HTTP
	badHead             // one that its client never finishes
	longHead
	slowHead
)

// piece is what a framer cuts off the input.
type piece struct {
	kind kind
	text []byte // the request's, of a line and a head
	size int    // how much of the input it is
	wait state  // of a rest: what the connection waits in for the rest of it
}

// framer cuts a connection's input into requests. Its value is all that it
// keeps of the input that it has passed.
type framer struct {
	framing  Framing
	skipping bool // of the line that is under way the rest does not count
	lines    bool // the client has sent a whole line, so the next one may be whole too
	expired  bool // what is left has waited long enough for more
}

// cutOff returns what in begins with. eof says that nothing will come after in.
func (f *framer) cutOff(in []byte, eof bool) piece {
	p := f.look(in, eof)
	if p.kind != rest {
		f.expired = false
	}
	return p
}

func (f *framer) look(in []byte, eof bool) piece {
	if len(in) == 0 {
		return piece{wait: idle}
	}
	end := bytes.IndexByte(in, '\n')
	if f.skipping {
		if end < 0 {
			return piece{kind: skipped, size: len(in)}
		}
		f.skipping, f.lines = false, true
		return piece{kind: skipped, size: end + 1}
	}
	isHTTP, maybeHTTP := answer.IsHTTP(in)
	switch {
	case isHTTP:
		return f.lookHead(in, eof)
	case end > maxLine:
		f.lines = true
		return piece{kind: line, size: end + 1}
	case end >= 0:
		f.lines = true
		return piece{kind: line, text: in[:end], size: end + 1}
	case len(in) > maxLine:
		f.skipping = true
		return piece{kind: line, size: len(in)}
	case f.framing == Line:
		return piece{wait: idle}
	case (f.lines || maybeHTTP) && !f.expired && !eof:
		return piece{wait: resting}
	}
	return piece{kind: line, text: in, size: len(in)}
}

func (f *framer) lookHead(in []byte, eof bool) piece {
	end := answer.HeadEnd(in[:min(len(in), answer.MaxHead)])
	switch {
	case end >= 0:
		return piece{kind: head, text: in[:end], size: end}
	case len(in) >= answer.MaxHead:
		return piece{kind: longHead, text: in, size: len(in)}
	case eof:
		return piece{kind: badHead, text: in, size: len(in)}
	case f.expired:
		return piece{kind: slowHead, text: in, size: len(in)}
	}
	return piece{wait: heading}
}
