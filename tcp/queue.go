package tcp

import (
	"time"

	"nowd/reactor"
)

// queuedTimeout is how long a connection over the limit of its source waits before it is
// refused. A loop reads an end of file that has arrived in much less time.
const queuedTimeout = 250 * time.Millisecond

// queue makes a connection over the limit of its source wait until another connection of
// that source is closed. The client may have closed one just before it reconnected, and
// the loop of that connection may not have read the end of file yet. If none is closed
// within queuedTimeout, the queued connection is refused. Nothing is read from a queued
// connection.
//
// Queued connections do not count for the cap, like lingering ones. MaxLingering bounds
// both together.
func (s *Server) queue(fd int, source uint64) {
	if s.draining || s.beyondCap() >= MaxLingering(s.config.MaxConns) {
		s.refuse(fd, counterRefused)
		return
	}
	var c *conn
	w := &waiter{source: source}
	w.granted = func() {
		s.loop.Post(func() {
			if s.waiters[c] == w { // otherwise it was closed, which released the place
				delete(s.waiters, c)
				c.dequeue()
			}
		})
	}
	if !s.config.Sources.await(w) {
		s.refuse(fd, counterRefused)
		return
	}
	c = s.newConn(fd, source, queued)
	s.waiters[c] = w
	s.register(c, 0)
}

// dequeue starts to serve a queued connection whose source is below its limit again.
func (c *conn) dequeue() {
	s := c.server
	if !s.findRoom() {
		c.refuseQueued()
		return
	}
	c.enter(asking, true)
	_ = s.loop.Modify(int(c.fd), reactor.PollIn)
	c.begin()
}

// refuseQueued closes a queued connection and counts it as refused.
func (c *conn) refuseQueued() {
	c.server.config.Counters.add(counterRefused)
	c.close()
}

// beyondCap returns the number of connections that do not count for the cap.
func (s *Server) beyondCap() int {
	return s.lists[queued].len + s.lists[lingering].len + s.lists[acknowledging].len
}

// releaseSource subtracts c from its source's connections, or ends its wait.
func (s *Server) releaseSource(c *conn) {
	if w := s.waiters[c]; w != nil {
		delete(s.waiters, c)
		if s.config.Sources.withdraw(w) {
			return
		}
	}
	s.config.Sources.release(c.source)
}
