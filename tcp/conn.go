package tcp

import (
	"errors"
	"net/http"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/reactor"
	"nowd/socket"
)

// conn is the handler of one connection. While it waits for a request it holds
// no buffer; the server lends it one for as long as it handles an event.
type conn struct {
	server     *Server
	prev, next *conn         // in the list of its state
	source     uint64        // whom it counts for, if that is looked at
	since      time.Duration // when it came to its place there
	rest       []byte        // what was read and is not answered yet
	cut        []byte        // what is left of an answer that was sent in part
	fd         int32         // -1 if the connection is closed
	queued     int32         // what the client had not taken when it was looked at last, while writing
	state      state
	eof        bool // the client sends nothing more
	progress
}

// progress is how far a connection's input is answered.
type progress struct {
	framer
	asked   bool // there was a request
	closing bool // the last answer is given
}

// Ready reads and turns to PollOut; or answers and, unless the answers do not
// fit, turns to PollIn. While some wait for room nothing is read.
func (c *conn) Ready(fd int, ev reactor.Events) reactor.Events {
	s := c.server
	switch {
	case c.state == lingering:
		c.drain()
	case ev&reactor.PollOut == 0 && c.state != writing:
		if in, ok := c.receive(); ok {
			s.input, s.inputOf = in, c
			_ = s.loop.Modify(fd, reactor.PollOut)
		}
	default:
		in := c.rest
		if s.inputOf == c { // it has just been read, in the turn before this one
			in = s.input
		}
		s.input, s.inputOf = nil, nil
		c.serve(in)
		if s.stopping && c.waits() {
			c.last()
		}
	}
	return ev
}

// waits reports whether c is open and waits for its client to ask.
func (c *conn) waits() bool {
	return c.fd >= 0 && (c.state == idle || c.state == resting || c.state == heading)
}

// Removed closes the connection.
func (c *conn) Removed(fd int, why error) {
	if !errors.Is(why, reactor.ErrClosed) {
		c.server.Counters.c.Add(counterFailed, 1)
	}
	c.release()
}

// receive returns what there is to answer, in the server's buffer: what was
// left, and what has come. It reports false if nothing has, or the connection
// is gone.
func (c *conn) receive() ([]byte, bool) {
	s := c.server
	n := copy(s.in, c.rest)
	m, err := socket.Read(int(c.fd), s.in[n:n+readSize])
	if err != nil {
		if socket.FaultOf(socket.Reading, err) != socket.None {
			s.Counters.c.Add(counterFailed, 1)
			c.close()
		}
		return nil, false
	}
	c.eof = m == 0
	return s.in[:n+m], true
}

// mark is where in the output an answer ends, and how far it brings its
// connection.
type mark struct {
	out, in int32
	form    answer.Form
	progress
}

const (
	errorForm = answer.NumForms     // of an answer that gives no time
	noForm    = answer.NumForms + 1 // of what gets no answer
)

// serve answers the requests that are whole, as far as the kernel takes the
// answers, and keeps the rest of in. Answers that it does not take are not
// kept: they are made again when it has room, with the time as of then.
func (c *conn) serve(in []byte) {
	s := c.server
	for answered := false; ; answered = true {
		out, last := c.answer(append(s.out[:0], c.cut...), in)
		if len(out) > 0 {
			n, err := socket.Write(int(c.fd), out)
			if socket.FaultOf(socket.Writing, err) != socket.None {
				s.Counters.c.Add(counterFailed, 1)
				c.close()
				return
			}
			in = in[c.sent(out, n):]
			if n < len(out) {
				c.keep(in)
				c.waitForRoom(n > 0)
				return
			}
		} else {
			in = in[s.marks[len(s.marks)-1].in:]
		}
		if last.kind == rest || c.closing {
			c.settle(in, last.wait, answered || len(out) > 0)
			return
		}
	}
}

// answer appends the answers to the requests in in, up to a chunk of them,
// marks where each ends, and returns the piece that it came to last. All are of
// the same time, since they leave together; so one that is asked for the way
// the one before it was is the same.
func (c *conn) answer(out, in []byte) ([]byte, piece) {
	s := c.server
	s.marks = append(s.marks[:0], mark{int32(len(out)), 0, noForm, c.progress})
	now := s.Clock.Now()
	at, p := 0, piece{kind: line}
	var before []byte // the last answer in text, of the form:
	formBefore := noForm
	for len(out) < chunk && !c.closing {
		p = c.cutOff(in[at:], c.eof)
		if p.kind == rest {
			if !c.eof || c.asked {
				break
			}
			p = piece{kind: line} // it hung up without a word: it wants the time
		}
		at += p.size
		form, start := noForm, len(out)
		switch p.kind {
		case skipped:
		case line:
			if form = s.Text.Form(p.text); form == formBefore {
				out = append(out, before...)
				break
			}
			out = s.Text.Append(out, form, now)
			before, formBefore = out[start:], form
		case head:
			out, form = s.Text.AppendHTTP(out, p.text, now)
		default:
			out, form = s.Text.AppendHTTPError(out, p.text, statuses[p.kind], now), errorForm
		}
		c.asked = c.asked || p.kind != skipped
		c.closing = p.kind >= head
		s.marks = append(s.marks, mark{int32(len(out)), int32(at), form, c.progress})
	}
	return out, p
}

var statuses = map[kind]int{
	badHead:  http.StatusBadRequest,
	longHead: http.StatusRequestHeaderFieldsTooLarge,
	slowHead: http.StatusRequestTimeout,
}

// sent takes note that the kernel took the first n bytes of out: it takes the
// connection back to the last answer that was sent, at least in part, keeps
// what is left of that one, and returns how much of the input is answered.
func (c *conn) sent(out []byte, n int) (in int) {
	s := c.server
	i := len(s.marks) - 1
	if n < len(out) {
		i = 0
		for int(s.marks[i].out) < n {
			i++
		}
	}
	for _, m := range s.marks[:i+1] {
		if m.form != noForm {
			s.Counters.c.Add(counterAnswers+int(m.form), 1)
		}
	}
	m := &s.marks[i]
	c.progress = m.progress
	if c.cut = append(c.cut[:0], out[n:max(n, int(m.out))]...); len(c.cut) == 0 {
		c.cut = nil
	}
	return int(m.in)
}

// settle is for a connection whose answers are all with the kernel. in is the
// beginning of its next request, if anything.
func (c *conn) settle(in []byte, wait state, answered bool) {
	switch {
	case c.closing:
		c.finish()
	case c.eof:
		c.close()
	default:
		c.keep(in)
		c.enter(wait, answered)
		_ = c.server.loop.Modify(int(c.fd), reactor.PollIn)
	}
}

// keep keeps what is to be answered later.
func (c *conn) keep(in []byte) {
	if c.rest = append(c.rest[:0], in...); len(in) == 0 {
		c.rest = nil
	}
}

// enter brings c into a state. If it is there already, it starts anew only if
// that is said.
func (c *conn) enter(st state, anew bool) {
	s := c.server
	now := s.loop.Now()
	if c.state == st && (!anew || st == idle && now-c.since < s.slack) {
		return
	}
	was := c.state
	s.lists[was].remove(c)
	c.state = st
	s.lists[st].push(c, now)
	s.arm(now + s.lists[st].timeout)
	if was == writing && s.paused && s.room() { // it can make room, now that it is owed nothing
		s.pause(false)
	}
}

// renew gives c the whole time of its state, and the last place in it.
func (c *conn) renew() {
	l := &c.server.lists[c.state]
	l.remove(c)
	l.push(c, c.server.loop.Now())
}

// waitForRoom has c wait until the client has read some of its answers.
func (c *conn) waitForRoom(progress bool) {
	c.enter(writing, progress)
	c.queued = int32(socket.Unsent(int(c.fd)))
	_ = c.server.loop.Modify(int(c.fd), reactor.PollOut)
}

// expire is called when c has been in its state for as long as it may.
func (c *conn) expire() {
	s := c.server
	switch c.state {
	case idle, resting, heading:
		// What it waits for may have come, and we been late to look.
		st, since := c.state, c.since
		if in, ok := c.receive(); ok {
			c.serve(in)
		}
		switch {
		case c.fd < 0 || c.state != st || c.since != since:
		case st == idle:
			s.Counters.c.Add(counterIdled, 1)
			c.finish()
		default:
			c.expired = true
			c.serve(c.rest)
		}
	case writing:
		// The kernel says that there is room only when there is a lot. A
		// client that reads slowly is one that reads.
		if n := int32(socket.Unsent(int(c.fd))); n < c.queued {
			c.queued = n
			c.enter(writing, true)
			return
		}
		s.Counters.c.Add(counterStalled, 1)
		// What it does not read is not worth keeping in the kernel either.
		_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		c.close()
	case lingering:
		c.close()
	}
}

// greet says what there is to say, which any new connection has room for.
func (c *conn) greet() {
	s := c.server
	b, form := s.Greeting.Append(s.out[:0], s.Clock.Now())
	n := 0
	if len(b) > 0 {
		n, _ = socket.Write(int(c.fd), b)
	}
	switch {
	case len(b) == 0:
		s.Counters.c.Add(counterUntrusted, 1)
		c.close()
	case n < len(b): // the client is gone already
		s.Counters.c.Add(counterFailed, 1)
		c.close()
	default:
		s.Counters.c.Add(counterAnswers+int(form), 1)
		c.finish()
	}
}

// last answers what the client has sent by now, and then closes the connection.
// If that is a lot it does a part of it, and is called again with the next
// event.
func (c *conn) last() {
	for range lastReads {
		in, ok := c.receive()
		if !ok {
			if c.waits() { // for nothing more: what is left is a request
				c.expired = true
				c.serve(c.rest)
			}
			if c.waits() {
				c.finish()
			}
			return
		}
		if c.serve(in); !c.waits() {
			return
		}
	}
}

// finish closes our side first. What the client still sends is read and thrown
// away until it closes its own, or has had time to: a close before that would
// make a reset of it, which can overtake the last answer.
func (c *conn) finish() {
	if c.eof || unix.Shutdown(int(c.fd), unix.SHUT_WR) != nil {
		c.close()
		return
	}
	c.rest, c.cut = nil, nil
	c.enter(lingering, false)
	_ = c.server.loop.Modify(int(c.fd), reactor.PollIn)
	c.server.trim()
}

func (c *conn) drain() {
	n, err := socket.Read(int(c.fd), c.server.in)
	if n == 0 && (err == nil || socket.FaultOf(socket.Reading, err) != socket.None) {
		c.close()
	}
}

func (c *conn) close() {
	_ = c.server.loop.Remove(int(c.fd))
	c.release()
}

// release gives back what c holds, and c itself.
func (c *conn) release() {
	s := c.server
	_ = unix.Close(int(c.fd))
	if s.Sources != nil {
		s.Sources.give(c.source)
	}
	s.lists[c.state].remove(c)
	*c = conn{server: s, fd: -1, next: s.free}
	s.free = c
	s.closed()
}
