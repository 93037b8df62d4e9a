package tcp

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/reactor"
	"nowd/socket"
)

// conn is the handler of one connection. While it waits for a request it holds no
// buffer: the server lends it buffers while it handles an event.
type conn struct {
	server     *Server
	prev, next *conn         // in the list of its state
	source     uint64        // its client's key in Sources; 0 without Sources
	entered    time.Duration // when its timeout started, on the loop's clock
	unparsed   []byte        // input that was read and is not answered yet
	unsent     []byte        // the rest of a partly sent answer
	fd         int32         // -1 once the connection is closed
	unacked    int32         // in states writing, lingering and acknowledging: bytes that the client had not acknowledged at the last check
	owed       int32         // after Shutdown: bytes of input that had arrived by then and are not read yet
	lingered   int32         // in states lingering and acknowledging: number of timeouts since the client last acknowledged bytes
	state      state
	eof        bool // the client has half-closed
	charge
	progress
}

var _ reactor.Handler = (*conn)(nil)

// progress is how far a connection's input has been answered.
type progress struct {
	framer
	asked   bool // the client has sent a request
	closing bool // the last answer is made: close when it is sent
}

// Ready reads and changes the interest to PollOut, or answers and changes it to PollIn.
// While the send buffer is full, the interest stays PollOut, and nothing is read.
func (c *conn) Ready(fd int, ev reactor.Events) reactor.Events {
	s := c.server
	switch {
	case c.state == lingering:
		c.discard()
	case c.state == queued: // its interest is empty, so the event is an error
		c.fail()
	case ev&reactor.PollOut == 0 && c.state != writing:
		if in, ok := c.receive(); ok {
			s.received, s.receivedBy = in, c
			_ = s.loop.Modify(fd, reactor.PollOut)
		}
	default:
		in := c.unparsed
		if s.receivedBy == c { // the loop's previous call has read it
			in = s.received
		}
		s.received, s.receivedBy = nil, nil
		c.serve(in)
		if s.draining && c.waitsForInput() {
			c.drain()
		}
	}
	return ev
}

// Removed closes the connection after the loop has removed it.
func (c *conn) Removed(fd int, why error) {
	if !errors.Is(why, reactor.ErrClosed) {
		c.server.config.Counters.add(counterFailed)
	}
	c.release()
}

// waitsForInput reports whether c is open and waits for its client to send.
func (c *conn) waitsForInput() bool {
	return c.fd >= 0 && c.state.forInput()
}

// receive reads once. It returns the unparsed input including the new bytes, in the
// server's buffer. It reports false if there was nothing to read, or if an error closed
// the connection.
func (c *conn) receive() ([]byte, bool) {
	s := c.server
	n, size := copy(s.in, c.unparsed), readSize
	if s.draining {
		if size = min(size, int(c.owed)); size == 0 {
			c.eof = atEOF(int(c.fd))
			return s.in[:n], c.eof
		}
	}
	m, err := socket.Read(int(c.fd), s.in[n:n+size])
	if err != nil {
		if socket.ActionFor(socket.Reading, err) != socket.Ignore {
			c.fail()
		}
		return nil, false
	}
	if m == readSize { // the socket may hold more
		c.unmeasured = measureAfter
	}
	if s.draining {
		c.owed -= int32(m)
	}
	c.eof = m == 0
	return s.in[:n+m], true
}

// atEOF reports whether the client has half-closed and all its input is read.
func atEOF(fd int) bool {
	n, _, err := unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n == 0 && err == nil
}

// serve answers the requests in the input in, until the send buffer is full, and keeps
// the unanswered rest of in. Of the answers it keeps only the rest of a partly sent one.
// It makes the others again when the socket is writable, with the current time.
func (c *conn) serve(in []byte) {
	s := c.server
	for wrote := false; ; wrote = true {
		out, last := c.appendAnswers(append(s.out[:0], c.unsent...), in)
		n := 0
		if len(out) > 0 {
			var err error
			n, err = socket.Write(int(c.fd), out)
			if socket.ActionFor(socket.Writing, err) != socket.Ignore {
				c.fail()
				return
			}
			c.unmeasured += int32(max(n, leastWrite))
		}
		in = in[c.commit(out, n):]
		if n < len(out) {
			c.keepUnparsed(in)
			c.waitUntilWritable(n > 0)
			return
		}
		if last.kind == incomplete || c.closing {
			c.allSent(in, last.wait, wrote || n > 0)
			return
		}
	}
}

// checkpoint marks the end of an answer in the output.
type checkpoint struct {
	out, in  int32          // offset in the output, and bytes of input answered up to there
	outcome  answer.Outcome // of the answer that ends here
	progress                // the connection's progress once the output up to here is sent
}

// appendAnswers appends answers to the requests in in, until the output is about
// writeChunk long. It returns the output and the last frame of the input. It sets a
// checkpoint at the end of each answer; the first checkpoint is where the answers begin.
// All answers carry the same time, since they leave together. So an answer in the same
// form as its predecessor is a copy of it.
func (c *conn) appendAnswers(out, in []byte) ([]byte, frame) {
	s := c.server
	s.checkpoints = append(s.checkpoints[:0], checkpoint{out: int32(len(out)), progress: c.progress})
	now := s.config.Clock.Now()
	var at, size int
	f := frame{kind: line}
	var before []byte // the last answer to a line; its form is formBefore
	var formBefore answer.Form
	for len(out) < writeChunk && !c.closing {
		f, size = c.nextFrame(in[at:], c.eof)
		if f.kind == incomplete {
			if !c.eof || c.asked {
				break
			}
			f = frame{kind: line} // half-closed without a request: answer once
		}
		at += size
		if f.kind == skipped {
			last := &s.checkpoints[len(s.checkpoints)-1]
			last.in, last.progress = int32(at), c.progress
			continue
		}
		var outcome answer.Outcome
		start := len(out)
		switch f.kind {
		case line:
			form := s.config.Text.Form(f.text)
			outcome = answer.Answered(form)
			if before != nil && form == formBefore {
				out = append(out, before...)
				break
			}
			out = s.config.Text.Append(out, form, now)
			before, formBefore = out[start:], form
		case head:
			out, outcome = s.config.Text.AppendHTTP(out, f.text, now)
		default:
			out, outcome = answer.AppendHTTPError(out, f.text, httpStatus[f.kind], now)
		}
		c.asked = true
		c.closing = f.kind.isHTTP()
		s.checkpoints = append(s.checkpoints, checkpoint{int32(len(out)), int32(at), outcome, c.progress})
	}
	return out, f
}

// commit records that the kernel accepted the first n bytes of out. It counts the answers
// that are sent at least in part, and sets the connection's progress back to the end of
// the last of these. It keeps the unsent rest of that answer. It returns the number of
// input bytes that are answered.
func (c *conn) commit(out []byte, n int) (in int) {
	s := c.server
	i := len(s.checkpoints) - 1
	if n < len(out) {
		i = 0
		for int(s.checkpoints[i].out) < n {
			i++
		}
	}
	for _, p := range s.checkpoints[1 : i+1] {
		s.config.Counters.addOutcome(p.outcome)
	}
	p := &s.checkpoints[i]
	c.progress = p.progress
	if c.unsent = append(c.unsent[:0], out[n:max(n, int(p.out))]...); len(c.unsent) == 0 {
		c.unsent = nil
	}
	return int(p.in)
}

// allSent is called when the kernel has accepted all answers. It makes the connection wait
// for more input, in state wait, or closes it. in is the beginning of the next request, or
// empty. wrote says whether any answer was sent.
func (c *conn) allSent(in []byte, wait state, wrote bool) {
	switch {
	case c.closing, c.eof:
		c.lingeringClose()
	default:
		c.keepUnparsed(in)
		c.enter(wait, wrote)
		_ = c.server.loop.Modify(int(c.fd), reactor.PollIn)
		if c.unmeasured >= measureAfter || c.held > 0 || len(in) > 0 {
			c.account(wrote)
		}
	}
}

// keepUnparsed keeps a copy of in, to be answered later.
func (c *conn) keepUnparsed(in []byte) {
	if c.unparsed = append(c.unparsed[:0], in...); len(in) == 0 {
		c.unparsed = nil
	}
}

// waitUntilWritable makes c wait until the client has read some of its answers. progress
// says whether the kernel has just accepted some bytes.
func (c *conn) waitUntilWritable(progress bool) {
	// Update unacked only when the timeout restarts. Otherwise writeTimeOut would miss
	// what the client has acknowledged in the meantime.
	if progress || c.state != writing {
		c.unacked = int32(socket.Unsent(int(c.fd)))
	}
	c.enter(writing, progress)
	_ = c.server.loop.Modify(int(c.fd), reactor.PollOut)
	c.account(progress)
}

// serveFirst sends the answer of a server-first protocol and closes the connection. The
// answer fits into the send buffer of a new connection.
func (c *conn) serveFirst() {
	s := c.server
	b, outcome := s.config.ServerFirst.Append(s.out[:0], s.config.Clock.Now())
	if _, ok := outcome.Form(); !ok {
		s.config.Counters.addOutcome(outcome)
		c.close()
		return
	}
	if n, _ := socket.Write(int(c.fd), b); n < len(b) { // the client has already reset it
		c.fail()
		return
	}
	s.config.Counters.addOutcome(outcome)
	c.lingeringClose()
}
