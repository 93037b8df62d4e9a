package tcp

import (
	"bytes"
	"fmt"
	"net/http"

	"nowd/answer"
)

// Framing is the rule by which a connection's input is divided into requests.
type Framing uint8

const (
	Burst Framing = iota // a request is a line, or the input before a pause of the client
	Line                 // a request is a whole line
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

// maxLine is the maximum length of a request, in bytes. A longer one is answered once,
// and the rest of its line is skipped.
const maxLine = 1024

// frameKind is the kind of a frame. Kinds from head on are HTTP: the connection closes
// after the answer.
type frameKind uint8

const (
	incomplete    frameKind = iota // part of a request, or nothing: more input is needed
	skipped                        // part of a line that is too long and already answered
	line                           // a request in text
	head                           // the head of an HTTP request
	truncatedHead                  // part of a head, then the client half-closed
	oversizedHead                  // part of a head that is too long
	slowHead                       // part of a head, then the client sent nothing until the timeout
)

// httpStatus is the status of the answer to an incomplete head.
var httpStatus = [...]int{
	truncatedHead: http.StatusBadRequest,
	oversizedHead: http.StatusRequestHeaderFieldsTooLarge,
	slowHead:      http.StatusRequestTimeout,
}

func (k frameKind) isHTTP() bool { return k >= head }

// frame is the next part of a connection's input.
//
// It is small enough to be kept in registers. Go keeps a larger struct in memory, where
// copying it costs 1 % of an answer.
type frame struct {
	text []byte // the request; nil for a line that is too long
	kind frameKind
	wait state // if incomplete: the state in which the connection waits for more input
}

// framer divides a connection's input into frames. It stores none of the input.
type framer struct {
	framing  Framing
	skipping bool // the rest of the current line is skipped
	sawLine  bool // the client has sent a whole line, so a partial line may be completed
	timedOut bool // the wait for the rest of a partial line or head has timed out
}

// nextFrame returns the frame at the beginning of in, and its length there: 0 if it is
// incomplete. eof says that in is the end of the input.
func (f *framer) nextFrame(in []byte, eof bool) (p frame, size int) {
	if p, size = f.parse(in, eof); size > 0 {
		f.timedOut = false
	}
	return p, size
}

// parse is nextFrame, but does not reset timedOut.
func (f *framer) parse(in []byte, eof bool) (p frame, size int) {
	if len(in) == 0 {
		return frame{wait: idle}, 0
	}
	end := bytes.IndexByte(in, '\n')
	if f.skipping {
		if end < 0 {
			return frame{kind: skipped}, len(in)
		}
		f.skipping, f.sawLine = false, true
		return frame{kind: skipped}, end + 1
	}
	isHTTP, maybeHTTP := answer.IsHTTP(in)
	switch {
	case isHTTP:
		return f.parseHead(in, eof)
	case end > maxLine:
		f.sawLine = true
		return frame{kind: line}, end + 1
	case end >= 0:
		f.sawLine = true
		return frame{kind: line, text: in[:end]}, end + 1
	case len(in) > maxLine:
		f.skipping = true
		return frame{kind: line}, len(in)
	case f.framing == Line:
		return frame{wait: asking}, 0
	case (f.sawLine || maybeHTTP) && !f.timedOut && !eof:
		return frame{wait: partialLine}, 0
	}
	return frame{kind: line, text: in}, len(in)
}

// parseHead returns the frame at the beginning of in, which begins like an HTTP request.
func (f *framer) parseHead(in []byte, eof bool) (p frame, size int) {
	end := answer.HeadEnd(in[:min(len(in), answer.MaxHead)])
	switch {
	case end >= 0:
		return frame{kind: head, text: in[:end]}, end
	case len(in) >= answer.MaxHead:
		return frame{kind: oversizedHead, text: in}, len(in)
	case eof:
		return frame{kind: truncatedHead, text: in}, len(in)
	case f.timedOut:
		return frame{kind: slowHead, text: in}, len(in)
	}
	return frame{wait: partialHead}, 0
}
