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
	// acceptBatch is the maximum number of connections accepted in one event. With one
	// eviction each, they take less than a millisecond.
	acceptBatch = 16

	// maxDrainedAccepts is the maximum number of connections accepted from a listener at
	// shutdown. It covers a full accept queue and bounds a flood.
	maxDrainedAccepts = 1 << 16

	// maxAcceptErrors is the number of consecutive errors after which accepting backs
	// off: the error may be permanent.
	maxAcceptErrors = 100

	// acceptBackoff is how long accepting pauses after errors.
	acceptBackoff = 100 * time.Millisecond

	// minStall is how long a connection must have made no progress before the server
	// closes it for its descriptor.
	minStall = 3 * time.Second
)

// listener is the handler of a listening socket.
type listener struct {
	server    *Server
	onFailure func(why error)
}

var _ reactor.Handler = listener{}

// Ready accepts a batch of connections. It ends early if evictions have handled readSize
// bytes of input, the bound for one event of a connection.
func (l listener) Ready(fd int, ev reactor.Events) reactor.Events {
	s := l.server
	s.evictRead = 0
	for n := 0; n < acceptBatch && s.evictRead < readSize && s.accept(fd); n++ {
	}
	return reactor.PollIn
}

// Removed closes the socket after the loop has removed it.
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

// admit opens an accepted connection. If its source is over the limit, admit queues it.
func (s *Server) admit(fd int) {
	var source uint64
	if s.config.Sources != nil {
		peer, err := socket.Peer(fd)
		if err != nil { // the client has already closed it
			s.refuse(fd, counterFailed)
			return
		}
		if source = guard.Source(peer.Addr()); !s.config.Sources.acquire(source) {
			s.queue(fd, source)
			return
		}
	}
	if !s.findRoom() {
		s.refuse(fd, counterRefused)
		if s.config.Sources != nil {
			s.config.Sources.release(source)
		}
		return
	}
	s.open(fd, source)
}

// findRoom reports whether one more connection may be served. If necessary it evicts
// another. If every connection is busy, it allows one over the cap, never more, since
// connections are busy only briefly.
func (s *Server) findRoom() bool { return s.makeRoom() || s.active() <= s.config.MaxConns }

// refuse closes a connection that was just accepted, and adds 1 to counter.
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

// newConn returns a new connection in state st.
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

// register registers a new connection with the loop. On failure it closes the connection
// and reports false.
func (s *Server) register(c *conn, interest reactor.Events) bool {
	if err := s.loop.Add(int(c.fd), interest, c); err != nil {
		s.config.Counters.add(counterFailed)
		c.release()
		return false
	}
	return true
}

// begin starts to serve a registered connection.
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

// listenerFailed closes a listener that has failed permanently.
func (s *Server) listenerFailed(fd int, why error) {
	l := s.listeners[fd]
	s.config.Counters.add(counterAcceptErrors)
	s.Unlisten(fd)
	l.onFailure(why)
}

// outOfDescriptors handles an accept that failed for lack of descriptors or memory.
// Clients stay in the accept queue until a descriptor is free. The server closes the
// connection that it would evict at the cap, if that has made no progress for minStall.
// If no connection is open, no descriptor will become free soon. Then it refuses one
// client, which would otherwise wait.
func (s *Server) outOfDescriptors(listener int, why error) {
	if s.config.Counters.c.Current(counterAcceptErrors) == 0 {
		s.config.Logger.Warn("cannot accept connections; retrying", "error", why)
	}
	s.config.Counters.add(counterAcceptErrors)
	s.backOff()
	if c, _ := s.victim(); c != nil && s.loop.Now()-c.entered > minStall {
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

// setAcceptPaused pauses or resumes accepting.
func (s *Server) setAcceptPaused(paused bool) {
	if s.acceptPaused == paused {
		return
	}
	s.acceptPaused = paused
	for fd := range s.listeners {
		_ = s.loop.Modify(fd, s.acceptInterest())
	}
}

// acceptInterest returns the interest of the listeners.
func (s *Server) acceptInterest() reactor.Events {
	if s.acceptPaused {
		return 0
	}
	return reactor.PollIn
}

// drainAcceptQueue accepts the connections in a listener's accept queue. Closing the
// listener would reset them.
func (s *Server) drainAcceptQueue(listener int) {
	for n := 0; n < maxDrainedAccepts && s.accept(listener); n++ {
	}
}
