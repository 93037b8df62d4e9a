package tcp

import (
	"time"

	"nowd/socket"
)

// setTimer has checkTimeouts called at a time on the loop's clock, unless it will be
// called earlier.
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

// checkTimeouts handles the connections that have been in their state for as long as
// they may.
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

// enter moves c to a state. If c is in that state already, its time-out starts anew
// only if restart is set.
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
	if s.noRoom && before != st { // perhaps c can be evicted now
		s.resumeIfRoom()
	}
}

// restartTimeout starts the time-out of c's state anew.
func (c *conn) restartTimeout() {
	l := &c.server.lists[c.state]
	l.remove(c)
	l.push(c, c.server.loop.Now())
}

// timeOut handles the time-out of c's state.
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

// inputTimeOut closes an idle connection, or takes a partial line or head for all
// that will come.
func (c *conn) inputTimeOut() {
	s := c.server
	// The loop may be late: the input that c waits for may have arrived.
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

// lingerTimeOut closes a lingering connection whose client had acknowledged all one
// time-out ago: the client is not about to send any more. While the client goes on to
// acknowledge, the connection lingers on: if it were closed, what the client still
// sends would make the kernel reset it, and drop the answers.
func (c *conn) lingerTimeOut() {
	n := int32(socket.Unsent(int(c.fd))) // with the end of file
	if n == 0 && c.unacked == 0 {
		c.close()
		return
	}
	c.awaitAcknowledgement(n)
}

// acknowledgeTimeOut closes a connection whose client has half-closed and acknowledged
// all.
func (c *conn) acknowledgeTimeOut() {
	n := int32(socket.Unsent(int(c.fd)))
	if n == 0 || socket.TakeError(int(c.fd)) != nil { // no loop reports that the client has reset it
		c.close()
		return
	}
	c.awaitAcknowledgement(n)
}

// awaitAcknowledgement starts the time-out of c's state anew, unless the client has
// acknowledged nothing for the write time-out: then the connection is reset. n is the
// number of bytes that are left to acknowledge.
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

// writeTimeOut closes a connection whose client does not read.
func (c *conn) writeTimeOut() {
	// A socket becomes writable only when much of its buffer is free. So a client
	// that reads slowly is recognised by the bytes that it has acknowledged.
	if n := int32(socket.Unsent(int(c.fd))); n < c.unacked {
		c.unacked = n
		c.enter(writing, true)
		c.account(true)
		return
	}
	c.reset(counterStalled)
}
