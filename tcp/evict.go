package tcp

import (
	"time"

	"nowd/socket"
)

const (
	// maxEvictReads is the greatest number of connections that are read from in search
	// of one whose client has sent nothing in the meantime.
	maxEvictReads = 8

	// maxLooks is the greatest number of lingering connections that are looked at in
	// search of one whose client has acknowledged all.
	maxLooks = 8

	// newcomerGrace is how long a client has at the cap to ask after it has connected,
	// and to send the rest of a request after its beginning: a lost packet is sent
	// again in that time. For a partial line it is half of its time-out.
	newcomerGrace = 250 * time.Millisecond

	// answeredGrace is how long a client that was answered keeps its place while others
	// are unfinished.
	answeredGrace = 30 * time.Second
)

// canAdmit reports whether there are fewer connections than the cap allows, or one
// can be evicted.
func (s *Server) canAdmit() bool {
	if !s.atCap() {
		return true
	}
	c, _ := s.victim()
	return c != nil
}

// atCap reports whether the cap allows no more connections.
func (s *Server) atCap() bool { return s.active() >= s.config.MaxConns }

// active returns the number of connections that count for the cap: the open ones
// that neither are queued nor linger.
func (s *Server) active() int { return s.conns() - s.beyondCap() }

// victim returns the connection to evict at the cap. It is the one that has been
// unfinished for the longest time, and for longer than its grace. If there is none, it
// is the one that has been idle for the longest time since its last answer; but as
// long as others are unfinished, only if that is longer than answeredGrace. Otherwise
// victim returns nil, and how long it takes until the next grace ends, or 0 if every
// connection has unsent answers.
//
// So a client that connects and asks nothing, or never ends its request, cannot take
// the place of one that asks now and then, nor that of a newcomer that has yet to ask:
// the next newcomers wait to be accepted.
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

// makeRoom evicts a connection if there are as many as the cap allows, and reports
// whether there is room then. A connection whose client has sent a request that was
// not read yet is answered and not evicted.
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

// MaxLingering returns the greatest number of connections that may be open beyond a
// cap of maxConns because they linger or are queued.
func MaxLingering(maxConns int) int { return max(16, maxConns/8) }

// capLingering ends the connections beyond MaxLingering that are queued or serve no
// more: those that are queued first, then those whose clients have half-closed, and of
// these the oldest. At shutdown there may be more: all connections linger at once, and
// for no longer than their time-out.
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
// all, if it is among the first maxLooks; otherwise the oldest one.
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

// end closes a connection that serves no more. If its client has not acknowledged all,
// the connection is reset, so that the kernel drops the answers, which no limit would
// count any more.
func (c *conn) end() {
	if socket.Unsent(int(c.fd)) > 0 {
		c.reset(counterEvicted)
	} else {
		c.close()
	}
}
