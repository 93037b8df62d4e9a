package tcp

import (
	"time"

	"nowd/socket"
)

const (
	// maxEvictReads is the maximum number of connections that makeRoom reads from to find
	// one whose client has sent nothing since.
	maxEvictReads = 8

	// maxLooks is the maximum number of lingering connections that capLingering checks to
	// find one whose client has acknowledged everything.
	maxLooks = 8

	// newcomerGrace is how long an unfinished connection is safe from eviction: the time
	// that a client has, at the cap, to send its first request or the rest of one. A lost
	// packet is retransmitted within it. For a partial line it is half the timeout.
	newcomerGrace = 250 * time.Millisecond

	// answeredGrace is how long an idle connection is safe from eviction while other
	// connections are unfinished.
	answeredGrace = 30 * time.Second
)

// canAdmit reports whether the server is below the cap, or can evict a connection.
func (s *Server) canAdmit() bool {
	if !s.atCap() {
		return true
	}
	c, _ := s.victim()
	return c != nil
}

// atCap reports whether the server has MaxConns active connections.
func (s *Server) atCap() bool { return s.active() >= s.config.MaxConns }

// active returns the number of connections that count for the cap: all open ones except
// those queued, lingering or acknowledging.
func (s *Server) active() int { return s.conns() - s.beyondCap() }

// victim returns the connection to evict at the cap:
//
//   - the one unfinished for the longest time, if longer than its grace;
//   - otherwise the one idle for the longest time, but while others are unfinished, only
//     if it has been idle for longer than answeredGrace;
//   - otherwise nil, and the time until the next grace ends, or 0 if every connection has
//     unsent answers.
//
// So clients that connect and never complete a request displace neither a client that
// asks now and then nor a newcomer that has yet to ask. Further newcomers wait in the
// accept queue.
func (s *Server) victim() (*conn, time.Duration) {
	now := s.loop.Now()
	var oldest *conn
	var wait time.Duration
	for _, st := range unfinished {
		c := s.lists[st].head
		if c == nil {
			continue
		}
		left := c.entered + min(newcomerGrace, s.lists[st].timeout/2) - now
		switch {
		case left <= 0 || s.draining:
			if oldest == nil || c.entered < oldest.entered {
				oldest = c
			}
		case wait == 0 || left < wait:
			wait = left
		}
	}
	if oldest != nil {
		return oldest, 0
	}
	if c := s.lists[idle].head; c != nil && (wait == 0 || now-c.entered > answeredGrace) {
		return c, 0
	}
	return nil, wait
}

// makeRoom evicts a connection if the server is at the cap, and reports whether the
// server is below it then. A connection with an unread request is answered instead of
// evicted.
func (s *Server) makeRoom() bool {
	handled := 0 // bytes of input
	for reads := 0; s.atCap(); reads++ {
		c, _ := s.victim()
		if c == nil || reads > maxEvictReads || handled >= readSize {
			return false
		}
		st, entered := c.state, c.entered
		if in, ok := c.receive(); ok {
			handled += len(in)
			s.evictRead += len(in)
			if c.serve(in); c.waitsForInput() && c.state == idle {
				c.restartTimeout()
				continue
			}
		}
		if c.waitsForInput() && c.state == st && c.entered == entered {
			s.config.Counters.add(counterEvicted)
			c.lingeringClose()
		}
	}
	return true
}

// waitForRoom pauses accepting until a connection can be evicted.
func (s *Server) waitForRoom() {
	s.noRoom = true
	s.setAcceptPaused(true)
	_, wait := s.victim()
	if wait == 0 {
		return
	}
	if s.roomTimer == nil {
		s.roomTimer = s.loop.After(wait, s.resumeIfRoom)
	} else {
		s.roomTimer.Reset(wait)
	}
}

// resumeIfRoom resumes accepting if a connection can be evicted.
func (s *Server) resumeIfRoom() {
	switch {
	case !s.noRoom:
	case s.canAdmit():
		s.noRoom = false
		s.setAcceptPaused(false)
	default:
		s.waitForRoom()
	}
}

// MaxLingering returns the maximum number of lingering, acknowledging and queued
// connections together, for a cap of maxConns. They do not count for the cap.
func MaxLingering(maxConns int) int { return max(16, maxConns/8) }

// capLingering ends connections until MaxLingering holds: queued ones first, then
// acknowledging ones, then lingering ones. Of these it ends the oldest first, and prefers
// one whose client has acknowledged everything (see acknowledged). The bound does not hold
// at shutdown: all connections linger at once then, until their timeout.
func (s *Server) capLingering() {
	for s.beyondCap() > MaxLingering(s.config.MaxConns) && !s.draining {
		if c := s.lists[queued].head; c != nil {
			c.refuseQueued()
			continue
		}
		l := &s.lists[acknowledging]
		if l.head == nil {
			l = &s.lists[lingering]
		}
		l.acknowledged().end()
	}
}

// acknowledged returns the oldest connection in the list whose client has acknowledged
// everything, if it is among the first maxLooks. Otherwise it returns the oldest one.
func (l *list) acknowledged() *conn {
	c := l.head
	for n := 0; c != nil && n < maxLooks; n++ {
		if socket.Unsent(int(c.fd)) == 0 {
			return c
		}
		c = c.next
	}
	return l.head
}

// end closes a lingering or acknowledging connection. If its client has not acknowledged
// everything, end resets it. Otherwise the kernel would keep the answers, and no limit
// would count them.
func (c *conn) end() {
	if socket.Unsent(int(c.fd)) > 0 {
		c.reset(counterEvicted)
	} else {
		c.close()
	}
}
