package tcp

import (
	"time"

	"nowd/socket"
)

// setTimer makes the loop call checkTimeouts at a time on its clock, or earlier.
func (s *Server) setTimer(at time.Duration) {
	if s.timerAt != 0 && s.timerAt <= at {
		return
	}
	s.timerAt = at
	if s.timer == nil {
		s.timer = s.loop.After(at-s.loop.Now(), s.checkTimeouts)
	} else {
		s.timer.Reset(at - s.loop.Now())
	}
}

// checkTimeouts handles the connections whose timeouts have passed.
func (s *Server) checkTimeouts() {
	s.timerAt = 0
	now := s.loop.Now()
	for i := range s.lists {
		l := &s.lists[i]
		for l.head != nil && l.head.entered+l.timeout <= now {
			l.head.timeOut()
		}
	}
	for i := range s.lists {
		if l := &s.lists[i]; l.head != nil {
			s.setTimer(l.head.entered + l.timeout)
		}
	}
}

// enter moves c to state st. If c is already in st, enter restarts its timeout only if
// restart is set, and for idle at most once in idleSlack.
func (c *conn) enter(st state, restart bool) {
	s := c.server
	now := s.loop.Now()
	if c.state == st && (!restart || st == idle && now-c.entered < s.idleSlack) {
		return
	}
	before := c.state
	s.lists[before].remove(c)
	c.state = st
	s.lists[st].push(c, now)
	s.setTimer(now + s.lists[st].timeout)
	if s.noRoom && before != st { // it may be possible to evict c now
		s.resumeIfRoom()
	}
}

// restartTimeout restarts the timeout of c's state.
func (c *conn) restartTimeout() {
	l := &c.server.lists[c.state]
	l.remove(c)
	l.push(c, c.server.loop.Now())
}

// timeOut handles the timeout of c's state.
func (c *conn) timeOut() {
	switch c.state {
	case queued:
		c.refuseQueued()
	case asking, idle, partialLine, partialHead:
		c.inputTimeOut()
	case writing:
		c.writeTimeOut()
	case lingering:
		c.lingerTimeOut()
	case acknowledging:
		c.acknowledgeTimeOut()
	}
}

// inputTimeOut closes an idle connection, or answers a partial line or head as it is.
func (c *conn) inputTimeOut() {
	s := c.server
	// The loop may be late, and input may have arrived.
	st, entered := c.state, c.entered
	if in, ok := c.receive(); ok {
		c.serve(in)
	}
	switch {
	case c.fd < 0 || c.state != st || c.entered != entered:
	case st == asking || st == idle:
		s.config.Counters.add(counterIdle)
		c.lingeringClose()
	default:
		c.timedOut = true
		c.serve(c.unparsed)
	}
}

// lingerTimeOut closes a lingering connection if the client has acknowledged everything, and
// no acknowledgement was outstanding at the last timeout: such a client is unlikely to send
// more. While the client still acknowledges answers, the connection lingers on. If the
// server closed it, further input would make the kernel reset it and drop the answers.
func (c *conn) lingerTimeOut() {
	n := int32(socket.Unsent(int(c.fd))) // includes the end of file
	if n == 0 && c.unacked == 0 {
		c.close()
		return
	}
	c.awaitAcknowledgement(n)
}

// acknowledgeTimeOut closes a connection whose client has half-closed, once the client
// has acknowledged everything.
func (c *conn) acknowledgeTimeOut() {
	n := int32(socket.Unsent(int(c.fd)))
	if n == 0 || socket.TakeError(int(c.fd)) != nil { // it is not registered, so the loop does not report a reset
		c.close()
		return
	}
	c.awaitAcknowledgement(n)
}

// awaitAcknowledgement restarts the timeout of c's state. But if the client has
// acknowledged nothing for WriteTimeout, it resets the connection. n is the number of
// unacknowledged bytes.
func (c *conn) awaitAcknowledgement(n int32) {
	s := c.server
	if c.unacked == 0 || n < c.unacked {
		c.unacked, c.lingered = n, 0
	} else if c.lingered++; time.Duration(c.lingered)*s.lists[c.state].timeout >= s.config.WriteTimeout {
		c.reset(counterStalled)
		return
	}
	c.restartTimeout()
}

// writeTimeOut resets a connection whose client does not read.
func (c *conn) writeTimeOut() {
	// A socket becomes writable only when much of its buffer is free. The bytes that a
	// client has acknowledged show earlier that it reads slowly.
	if n := int32(socket.Unsent(int(c.fd))); n < c.unacked {
		c.unacked = n
		c.enter(writing, true)
		c.account(true)
		return
	}
	c.reset(counterStalled)
}
