package tcp

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"nowd/guard"
	"nowd/reactor"
	"nowd/socket"
)

const (
	// acceptBatch is the greatest number of connections accepted in one event: with an
	// eviction each, so many take less than a millisecond.
	acceptBatch = 16

	// maxDrainedAccepts is the greatest number of connections accepted from a
	// listener at shutdown: all that an accept queue holds, but not a flood without
	// end.
	maxDrainedAccepts = 1 << 16

	// maxAcceptErrors is the number of errors in a row after which accepting backs
	// off: the error may be one that does not go away.
	maxAcceptErrors = 100

	// acceptBackoff is how long accepting pauses after errors.
	acceptBackoff = 100 * time.Millisecond

	// idleEnough is how long a connection has to have been without progress before it is
	// closed for its descriptor.
	idleEnough = 3 * time.Second
)

// listener is the handler of a listening socket.
type listener struct {
	server    *Server
	onFailure func(why error)
}

var _ reactor.Handler = listener{}

// Ready accepts a batch of connections. It ends early if evictions have handled as
// much input as one event of a connection may.
func (l listener) Ready(fd int, ev reactor.Events) reactor.Events {
	s := l.server
	s.evictRead = 0
	for n := 0; n < acceptBatch && s.evictRead < readSize && s.accept(fd); n++ {
	}
	return reactor.PollIn
}

// Removed closes the socket, which the loop has removed.
func (l listener) Removed(fd int, why error) {
	_ = unix.Close(fd)
	delete(l.server.listeners, fd)
	if !errors.Is(why, reactor.ErrClosed) {
		l.onFailure(why)
	}
}

// accept accepts one connection and reports whether there may be more.
func (s *Server) accept(listener int) bool {
	if !s.canAdmit() {
		s.waitForRoom()
		return false
	}
	fd, err := socket.Accept(listener)
	if err == nil {
		s.acceptErrors = 0
		s.admit(fd)
		return true
	}
	switch action := socket.ActionFor(socket.Accepting, err); {
	case action == socket.Ignore:
		return false
	case action == socket.Reopen:
		s.listenerFailed(listener, err)
		return false
	case action == socket.BackOff:
		s.outOfDescriptors(listener, err)
		return false
	}
	s.config.Counters.add(counterAcceptErrors)
	if s.acceptErrors++; s.acceptErrors%maxAcceptErrors == 0 {
		s.backOff()
		return false
	}
	return true
}

// admit opens a connection that was accepted. One that is over the limit of its source
// waits for a place.
func (s *Server) admit(fd int) {
	var source uint64
	if s.config.Sources != nil {
		peer, err := socket.Peer(fd)
		if err != nil { // the client has closed it already
			s.refuse(fd, counterFailed)
			return
		}
		if source = guard.Source(peer.Addr()); !s.config.Sources.acquire(source) {
			s.queue(fd, source)
			return
		}
	}
	if !s.hasRoom() {
		s.refuse(fd, counterRefused)
		if s.config.Sources != nil {
			s.config.Sources.release(source)
		}
		return
	}
	s.open(fd, source)
}

// hasRoom reports whether one more connection may be served, after another was evicted
// if need be. If every connection is busy, one over the cap may, and never more: it
// would be refused because of a moment.
func (s *Server) hasRoom() bool { return s.makeRoom() || s.active() <= s.config.MaxConns }

// refuse closes a connection that was just accepted, and counts it.
func (s *Server) refuse(fd, counter int) {
	s.config.Counters.add(counter)
	_ = unix.Close(fd)
}

// open starts to serve a connection.
func (s *Server) open(fd int, source uint64) {
	if c := s.newConn(fd, source, asking); s.register(c, reactor.PollIn) {
		c.begin()
	}
}

// newConn returns a connection in a state.
func (s *Server) newConn(fd int, source uint64, st state) *conn {
	c := s.free
	if c != nil {
		s.free = c.next
		c.next = nil
	} else {
		c = &conn{server: s}
	}
	c.fd, c.source = int32(fd), source
	c.framing = s.config.Framing
	c.state = st
	s.lists[st].push(c, s.loop.Now())
	s.setTimer(s.loop.Now() + s.lists[st].timeout)
	s.config.Counters.c.Set(counterOpen, uint64(s.conns()))
	return c
}

// register registers a new connection with the loop. If the loop cannot take it, it is
// closed.
func (s *Server) register(c *conn, interest reactor.Events) bool {
	if err := s.loop.Add(int(c.fd), interest, c); err != nil {
		s.config.Counters.add(counterFailed)
		c.release()
		return false
	}
	return true
}

// begin starts to serve a connection that is registered.
func (c *conn) begin() {
	s := c.server
	s.config.Counters.add(counterAccepted)
	if s.draining {
		c.owed = int32(socket.Unread(int(c.fd)))
	}
	if s.config.ServerFirst != nil {
		c.serveFirst()
	}
}

// listenerFailed gives up a listener that cannot accept any more.
func (s *Server) listenerFailed(fd int, why error) {
	l := s.listeners[fd]
	s.config.Counters.add(counterAcceptErrors)
	s.Unlisten(fd)
	l.onFailure(why)
}

// outOfDescriptors handles an accept that failed for lack of a descriptor or of memory.
// Clients stay in the accept queue until a descriptor is free, and the connection that
// would be evicted at the cap is closed if it has made no progress for idleEnough. If no connection is
// open, no descriptor will come free soon, so one client is refused: that is better
// than to let it wait.
func (s *Server) outOfDescriptors(listener int, why error) {
	if s.config.Counters.c.Current(counterAcceptErrors) == 0 {
		s.config.Logger.Warn("cannot accept connections; retrying", "error", why)
	}
	s.config.Counters.add(counterAcceptErrors)
	s.backOff()
	if c, _ := s.victim(); c != nil && s.loop.Now()-c.entered > idleEnough {
		s.config.Counters.add(counterEvicted)
		c.lingeringClose()
	} else if s.conns() == 0 && s.spare.Refuse(listener) {
		s.config.Counters.add(counterRefused)
	}
}

// backOff pauses accepting for acceptBackoff.
func (s *Server) backOff() {
	s.setAcceptPaused(true)
	s.loop.After(acceptBackoff, func() { s.setAcceptPaused(false) })
}

// setAcceptPaused pauses accepting, or resumes it.
func (s *Server) setAcceptPaused(paused bool) {
	if s.acceptPaused == paused {
		return
	}
	s.acceptPaused = paused
	for fd := range s.listeners {
		_ = s.loop.Modify(fd, s.acceptInterest())
	}
}

// acceptInterest returns the events that listeners are registered for.
func (s *Server) acceptInterest() reactor.Events {
	if s.acceptPaused {
		return 0
	}
	return reactor.PollIn
}

// drainAcceptQueue accepts the connections in a listener's accept queue, which would
// be reset when the listener is closed.
func (s *Server) drainAcceptQueue(listener int) {
	for n := 0; n < maxDrainedAccepts && s.accept(listener); n++ {
	}
}
