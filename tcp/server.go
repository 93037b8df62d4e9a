// Package tcp answers requests on connections: lines of text, what a client
// sends before it pauses, or HTTP. A Server has the connections of one event
// loop.
//
// The way of a request: the connection is readable, what there is is read, and
// the handler turns to PollOut; in that turn the clock is read, the requests are
// told apart, and their answers are made and written together. If the kernel
// takes them all, the handler turns back to PollIn.
package tcp

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/clock"
	"nowd/guard"
	"nowd/reactor"
	"nowd/socket"
)

// Config says what a Server needs to know.
type Config struct {
	Clock        *clock.Clock
	Text         *answer.Text
	Greeting     Greeting // if there is one it is all that is said
	Framing      Framing
	MaxConns     int           // at the cap the longest idle connection makes room
	Sources      *Sources      // the cap for each source; nil for none
	IdleTimeout  time.Duration // for a client that does not ask
	WriteTimeout time.Duration // for one that does not read, and one that does not finish an HTTP request
	NoDelay      bool
	Logger       *slog.Logger
	Counters     *Counters
}

// Greeting is what a server says without being asked, before it closes the
// connection: that is how the time was told by the oldest protocols.
type Greeting interface {
	// Append appends what there is to say now. If that is nothing, the clock is
	// not good enough to be told, and the connection is closed.
	Append(b []byte, now time.Time) ([]byte, answer.Form)
}

const (
	// readSize is how much is read in one event.
	readSize = 2 << 10
	// chunk is how long the answers written in one call may become, but for
	// the last one. It bounds the age of the first one's time, and how much is
	// made in vain for a client that does not read.
	chunk = 8 << 10
	// maxBacklog is how many a closing listener accepts: all that can wait,
	// but not what goes on arriving for ever.
	maxBacklog = 1 << 16
	// lastReads is how often a connection is read from in one event when the
	// server shuts down.
	lastReads = 16
	// evictTries is how many connections are looked at for one from whose
	// client nothing has come in the meantime.
	evictTries = 8
	// acceptBatch is how many connections are accepted in one event.
	acceptBatch = 64

	// tolerance is how many errors in a row a listener may have before it is
	// left alone for a while: it may be one that does not go away.
	tolerance = 100

	restTimeout   = 50 * time.Millisecond
	lingerTimeout = time.Second
	acceptPause   = 100 * time.Millisecond
	longIdle      = 3 * time.Second
)

// Server has the connections of one loop. Its methods belong to the loop's
// goroutine.
type Server struct {
	Config
	loop      *reactor.Loop
	listeners map[int]listener

	lists [numStates]list
	slack time.Duration // how much later than it might an idle connection may be closed
	free  *conn         // those closed, linked by next

	timer *reactor.Timer // for the first one whose time is up
	armed time.Duration  // what timer is set to, on the loop's clock; 0 if it is not

	paused   bool // nothing is accepted
	spare    *socket.Spare
	failures int // of accept(2), in a row
	stopping bool
	stopped  func()

	// Lent to the connection whose event is handled.
	in      []byte
	input   []byte // what has just been read, for the turn in which it is answered
	inputOf *conn
	out     []byte
	marks   []mark
}

// NewServer returns a server without a listener.
func NewServer(loop *reactor.Loop, c Config) *Server {
	s := &Server{
		Config:    c,
		loop:      loop,
		listeners: make(map[int]listener),
		// An idle connection's place in its list is kept to this only: moving
		// it for each request would touch its neighbours' memory too.
		slack: min(time.Second, c.IdleTimeout/8),
		spare: socket.NewSpare(),
		in:    make([]byte, answer.MaxHead+readSize),
		out:   make([]byte, 0, chunk+answer.MaxHTTP),
	}
	s.lists[idle].timeout = c.IdleTimeout + s.slack
	s.lists[resting].timeout = restTimeout
	s.lists[heading].timeout = c.WriteTimeout
	s.lists[writing].timeout = c.WriteTimeout
	s.lists[lingering].timeout = lingerTimeout
	return s
}

// Listen accepts connections from fd, a non-blocking listener, which the server
// owns from now on and closes when it fails. Should it be lost later, gone is
// called.
func (s *Server) Listen(fd int, gone func(why error)) error {
	l := listener{s, gone}
	err := s.loop.Add(fd, s.accepting(), l)
	if err == nil && s.NoDelay {
		// What is accepted inherits it.
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
			err = fmt.Errorf("setsockopt TCP_NODELAY: %w", err)
			_ = s.loop.Remove(fd)
		}
	}
	if err != nil {
		_ = unix.Close(fd)
		return err
	}
	s.listeners[fd] = l
	return nil
}

// Unlisten stops accepting connections from fd and closes it.
func (s *Server) Unlisten(fd int) {
	if _, ok := s.listeners[fd]; ok {
		delete(s.listeners, fd)
		_ = s.loop.Remove(fd)
		_ = unix.Close(fd)
	}
}

// Shutdown answers what clients have sent by now, closes the connections, and
// calls stopped when the last one is closed: a client that takes its time to
// read is waited for.
func (s *Server) Shutdown(stopped func()) {
	s.stopping, s.stopped = true, stopped
	s.spare.Close()
	for fd := range s.listeners {
		// Connections that wait to be accepted would be reset.
		for n := 0; n < maxBacklog && s.accept(fd); n++ {
		}
		s.Unlisten(fd)
	}
	var waiting []*conn
	for _, st := range [...]state{idle, resting, heading} {
		for c := s.lists[st].head; c != nil; c = c.next {
			waiting = append(waiting, c)
		}
	}
	for _, c := range waiting {
		c.last()
	}
	s.closed()
}

// open takes a new connection in.
func (s *Server) open(fd int, source uint64) {
	c := s.free
	if c != nil {
		s.free = c.next
		c.next = nil
	} else {
		c = &conn{server: s}
	}
	c.fd, c.source = int32(fd), source
	c.framing = s.Framing
	s.lists[idle].push(c, s.loop.Now())
	s.arm(s.loop.Now() + s.lists[idle].timeout)
	s.Counters.c.Add(counterAccepted, 1)
	s.Counters.c.Set(counterOpen, uint64(s.conns()))
	if err := s.loop.Add(fd, reactor.PollIn, c); err != nil {
		s.Counters.c.Add(counterFailed, 1)
		c.release()
	} else if s.Greeting != nil {
		c.greet()
	}
}

// conns is how many connections are open.
func (s *Server) conns() int {
	n := 0
	for i := range s.lists {
		n += s.lists[i].len
	}
	return n
}

// closed is called when a connection has been closed, or might have been.
func (s *Server) closed() {
	n := s.conns()
	s.Counters.c.Set(counterOpen, uint64(n))
	if n == 0 && s.stopped != nil {
		stopped := s.stopped
		s.stopped = nil
		stopped()
	}
	if s.paused && s.room() {
		s.pause(false)
	}
}

// room reports whether there is room for one more connection, or makeRoom can
// make some.
func (s *Server) room() bool { return !s.full() || s.leastActive() != nil }

// full reports whether there are as many connections as there may be.
func (s *Server) full() bool { return s.active() >= s.MaxConns }

// active is how many connections are open and do not only linger.
func (s *Server) active() int { return s.conns() - s.lists[lingering].len }

// leastActive returns the connection from whose client nothing has come for the
// longest time, if there is any that is owed nothing.
func (s *Server) leastActive() *conn {
	for _, st := range [...]state{idle, heading, resting} {
		if c := s.lists[st].head; c != nil {
			return c
		}
	}
	return nil
}

// makeRoom closes a connection if there are as many as there may be, and reports
// whether there is room then. One whose client has asked something that was not
// looked at yet is answered, and is not taken for idle.
func (s *Server) makeRoom() bool {
	for tries := 0; s.full(); tries++ {
		c := s.leastActive()
		if c == nil || tries > evictTries {
			return false
		}
		if in, ok := c.receive(); ok {
			if c.serve(in); c.waits() {
				c.renew()
			}
		} else if c.waits() {
			s.Counters.c.Add(counterEvicted, 1)
			c.finish()
		}
	}
	return true
}

// trim bounds the connections that only linger, which do not count for the cap.
// When the server shuts down, time bounds them.
func (s *Server) trim() {
	for l := &s.lists[lingering]; l.len > Lingering(s.MaxConns) && !s.stopping; {
		l.head.close()
	}
}

// Lingering is how many connections may be open beyond a cap of maxConns
// because their clients have not closed them yet.
func Lingering(maxConns int) int { return max(16, maxConns/8) }

// arm has expire called at a time on the loop's clock, if nothing has it called
// earlier.
func (s *Server) arm(at time.Duration) {
	if s.armed != 0 && s.armed <= at {
		return
	}
	s.armed = at
	if s.timer == nil {
		s.timer = s.loop.After(at-s.loop.Now(), s.expire)
	} else {
		s.timer.Reset(at - s.loop.Now())
	}
}

// expire handles the connections whose time is up in their state.
func (s *Server) expire() {
	s.armed = 0
	now := s.loop.Now()
	for i := range s.lists {
		l := &s.lists[i]
		for l.head != nil && l.head.since+l.timeout <= now {
			l.head.expire()
		}
	}
	for i := range s.lists {
		if l := &s.lists[i]; l.head != nil {
			s.arm(l.head.since + l.timeout)
		}
	}
}

// listener is the handler of a listening socket.
type listener struct {
	server *Server
	gone   func(why error)
}

// Ready accepts a batch of connections.
func (l listener) Ready(fd int, ev reactor.Events) reactor.Events {
	for range acceptBatch {
		if !l.server.accept(fd) {
			break
		}
	}
	return reactor.PollIn
}

// Removed closes the socket.
func (l listener) Removed(fd int, why error) {
	_ = unix.Close(fd)
	delete(l.server.listeners, fd)
	if !errors.Is(why, reactor.ErrClosed) {
		l.gone(why)
	}
}

// accept accepts one connection and reports whether there may be more.
func (s *Server) accept(listener int) bool {
	if !s.room() {
		s.pause(true) // until a connection is closed
		return false
	}
	fd, err := socket.Accept(listener)
	if err == nil {
		s.failures = 0
		s.admit(fd)
		return true
	}
	switch fault := socket.FaultOf(socket.Accepting, err); {
	case fault == socket.None:
		return false
	case fault == socket.Broken:
		s.lose(listener, err)
		return false
	case fault == socket.Short:
		s.makeDo(listener, err)
		return false
	}
	s.Counters.c.Add(counterAcceptErrors, 1)
	if s.failures++; s.failures%tolerance == 0 {
		s.pauseAWhile()
		return false
	}
	return true
}

// admit takes in a connection that was accepted, unless its source has as many
// as it may.
func (s *Server) admit(fd int) {
	var source uint64
	if s.Sources != nil {
		peer, err := socket.Peer(fd)
		if err != nil { // the client is gone already
			s.turnAway(fd, counterFailed)
			return
		}
		if source = guard.Source(peer.Addr()); !s.Sources.take(source) {
			s.turnAway(fd, counterRefused)
			return
		}
	}
	// If all are busy one more than may be has to do, so that it is not turned
	// away because of a moment; but only one.
	if s.makeRoom() || s.active() <= s.MaxConns {
		s.open(fd, source)
		return
	}
	s.turnAway(fd, counterRefused)
	if s.Sources != nil {
		s.Sources.give(source)
	}
}

// turnAway closes a connection that was just accepted, and counts it.
func (s *Server) turnAway(fd, counter int) {
	s.Counters.c.Add(counter, 1)
	_ = unix.Close(fd)
}

// lose gives up a listener that is none any more.
func (s *Server) lose(fd int, why error) {
	l := s.listeners[fd]
	s.Counters.c.Add(counterAcceptErrors, 1)
	s.Unlisten(fd)
	l.gone(why)
}

// makeDo is for when no descriptor can be had. Who waits to be accepted waits
// until one is closed; the connection that is idle for the longest time makes
// room, if that is long. If there are none at all, he is told that there is no
// place, which is better than to have him wait for ever.
func (s *Server) makeDo(listener int, why error) {
	if s.Counters.c.Own(counterAcceptErrors) == 0 {
		s.Logger.Warn("no connection can be accepted; trying again all the time", "error", why)
	}
	s.Counters.c.Add(counterAcceptErrors, 1)
	s.pauseAWhile()
	if c := s.leastActive(); c != nil && s.loop.Now()-c.since > longIdle {
		s.Counters.c.Add(counterEvicted, 1)
		c.finish()
	} else if s.conns() == 0 && s.spare.Refuse(listener) {
		s.Counters.c.Add(counterRefused, 1)
	}
}

// pauseAWhile has the listeners left alone for a while.
func (s *Server) pauseAWhile() {
	s.pause(true)
	s.loop.After(acceptPause, func() { s.pause(false) })
}

// pause stops or resumes accepting.
func (s *Server) pause(on bool) {
	if s.paused == on {
		return
	}
	s.paused = on
	for fd := range s.listeners {
		_ = s.loop.Modify(fd, s.accepting())
	}
}

// accepting is what a listener is asked for.
func (s *Server) accepting() reactor.Events {
	if s.paused {
		return 0
	}
	return reactor.PollIn
}
