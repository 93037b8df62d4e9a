package tcp

import (
	"time"

	"nowd/reactor"
)

// queuedTimeout is how long a connection over the limit of its source waits for the
// place of another. It is much longer than a loop takes to read an end that has
// arrived.
const queuedTimeout = 250 * time.Millisecond

// queue has a connection over the limit of its source wait until another one of that
// source is closed. The client may have closed one just before it connected anew, and
// the loop that has it may not have read the end yet. If none is closed in time, the
// queued connection is refused. Meanwhile nothing is read from it.
//
// Queued connections are beyond the cap, like lingering ones, and MaxLingering bounds
// the number of both together.
func (s *Server) queue(fd int, source uint64) {
	if s.draining || s.beyondCap() >= MaxLingering(s.config.MaxConns) {
		s.refuse(fd, counterRefused)
		return
	}
	var c *conn
	w := &waiter{source: source}
	w.granted = func() {
		s.loop.Post(func() {
			if s.waiters[c] == w { // otherwise it was closed, and gave the place back
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

// dequeue serves a queued connection, which has a place of its source now.
func (c *conn) dequeue() {
	s := c.server
	if !s.hasRoom() {
		c.refuseQueued()
		return
	}
	c.enter(asking, true)
	_ = s.loop.Modify(int(c.fd), reactor.PollIn)
	c.begin()
}

// refuseQueued closes a queued connection, and counts it.
func (c *conn) refuseQueued() {
	c.server.config.Counters.add(counterRefused)
	c.close()
}

// beyondCap returns the number of connections that do not count for the cap.
func (s *Server) beyondCap() int {
	return s.lists[queued].len + s.lists[lingering].len + s.lists[acknowledging].len
}

// releaseSource gives up a connection's place of its source, or its wait for one.
func (s *Server) releaseSource(c *conn) {
	if w := s.waiters[c]; w != nil {
		delete(s.waiters, c)
		if s.config.Sources.withdraw(w) {
			return
		}
	}
	s.config.Sources.release(c.source)
}
