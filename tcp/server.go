// Package tcp answers requests on connections: lines of text, what a client sends
// before it pauses, or HTTP. A Server serves the connections of one event loop.
//
// A request takes this way. A listener is ready, and the connection is accepted
// (accept.go). If its source has too many connections (sources.go), it waits for one
// of them to end (queue.go); if there are too many of all sources, one is evicted
// (evict.go). What a connection holds is charged to a budget (budget.go). The
// connection is ready, its input is read, and its handler turns to PollOut; in that
// turn the input is divided into requests (framing.go), the clock is read, and the
// answers are made and written together (conn.go). If the kernel takes them all, the
// handler turns back to PollIn. What a connection waits for is its state (state.go),
// which times out (timeout.go) or ends in its close (close.go).
package tcp

import (
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/clock"
	"nowd/reactor"
	"nowd/socket"
)

// Config configures a Server.
type Config struct {
	Clock        *clock.Clock
	Text         *answer.Text  // answers requests
	ServerFirst  ServerFirst   // if not nil, it answers instead of Text, without a request
	Framing      Framing       // how input is divided into requests
	MaxConns     int           // the greatest number of connections; at the cap one makes room: see victim
	Budget       int           // bytes that connections may hold beyond ConnMemory each: see ServerBudget; 0 for no limit
	Sources      *Sources      // the limit for each source; nil for none
	IdleTimeout  time.Duration // how long a client may send nothing
	WriteTimeout time.Duration // how long a client may read nothing, or leave an HTTP head incomplete
	NoDelay      bool          // TCP_NODELAY of tcp(7)
	Logger       *slog.Logger
	Counters     *Counters
}

// ServerFirst is a server-first protocol, such as daytime (RFC 867) and time (RFC
// 868): the server sends its answer when it has accepted the connection, and
// closes.
type ServerFirst interface {
	// Append appends the answer as of now. If the outcome is no answer, it appends
	// nothing, and the connection is closed.
	Append(b []byte, now time.Time) ([]byte, answer.Outcome)
}

const (
	// readSize is the greatest number of bytes read in one event.
	readSize = 2 << 10

	// writeChunk is the length in bytes at which a write is full: no answer is
	// appended any more. It bounds the age of the first answer's time, and the work
	// that is lost when a client does not read.
	writeChunk = 8 << 10

	partialLineTimeout = 50 * time.Millisecond
	lingeringTimeout   = time.Second

	// acknowledgingTimeout is the time between two looks whether a client has
	// acknowledged all. The loop's poller does not report it.
	acknowledgingTimeout = 100 * time.Millisecond
)

// Server serves the connections of one loop. Its methods belong to the loop's
// goroutine.
type Server struct {
	config    Config
	loop      *reactor.Loop
	listeners map[int]listener // by descriptor

	lists     [numStates]list   // the open connections, by state
	charges   charges           // for what open connections hold
	idleSlack time.Duration     // how much later than IdleTimeout an idle connection may be closed
	waiters   map[*conn]*waiter // the queued connections' places in Sources
	free      *conn             // closed connections to use again, linked by next

	timer   *reactor.Timer // calls checkTimeouts
	timerAt time.Duration  // what timer is set to, on the loop's clock; 0 if it is not set

	acceptPaused bool
	acceptErrors int            // in a row
	evictRead    int            // bytes of input that evictions have handled in the listener's current event
	noRoom       bool           // accepting pauses until a connection can be evicted
	roomTimer    *reactor.Timer // tries again
	spare        *socket.Spare

	draining  bool   // Shutdown was called
	onDrained func() // called when the last connection is closed; nil once called

	// Buffers, lent to the connection whose event is being handled.
	in          []byte
	received    []byte // what a connection has just read, for the turn in which it answers it
	receivedBy  *conn  // that connection
	out         []byte
	checkpoints []checkpoint
}

// NewServer returns a server without a listener.
func NewServer(loop *reactor.Loop, c Config) *Server {
	s := &Server{
		config:    c,
		loop:      loop,
		listeners: make(map[int]listener),
		waiters:   make(map[*conn]*waiter),
		// A connection does not move in the list of idle ones for each request,
		// which would touch its neighbours' memory, but once in this time.
		idleSlack: min(time.Second, c.IdleTimeout/8),
		spare:     socket.NewSpare(),
		in:        make([]byte, answer.MaxHead+readSize),
		out:       make([]byte, 0, writeChunk+answer.MaxHTTP),
	}
	s.lists[queued].timeout = queuedTimeout
	s.lists[asking].timeout = c.IdleTimeout
	s.lists[idle].timeout = c.IdleTimeout + s.idleSlack
	s.lists[partialLine].timeout = partialLineTimeout
	s.lists[partialHead].timeout = c.WriteTimeout
	s.lists[writing].timeout = c.WriteTimeout
	s.lists[lingering].timeout = lingeringTimeout
	s.lists[acknowledging].timeout = acknowledgingTimeout
	return s
}

// Listen accepts connections from fd, a non-blocking listening socket. The server
// owns fd from now on: on an error it is closed. If the listener fails later, the
// server closes it and calls onFailure.
func (s *Server) Listen(fd int, onFailure func(why error)) error {
	l := listener{s, onFailure}
	err := s.loop.Add(fd, s.acceptInterest(), l)
	if err == nil && s.config.NoDelay {
		// Accepted connections inherit it.
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

// Unlisten closes a listener.
func (s *Server) Unlisten(fd int) {
	if _, ok := s.listeners[fd]; ok {
		delete(s.listeners, fd)
		_ = s.loop.Remove(fd)
		_ = unix.Close(fd)
	}
}

// Shutdown accepts the connections that are in the accept queues, closes the
// listeners, answers what has arrived from clients by now, and closes the
// connections, each with an end of file. What clients send from now on is discarded.
// It calls onDrained when the last one is closed. It waits for clients that are slow
// to read.
func (s *Server) Shutdown(onDrained func()) {
	s.draining, s.onDrained = true, onDrained
	for s.lists[queued].head != nil {
		s.lists[queued].head.refuseQueued()
	}
	for i := range s.lists {
		for c := s.lists[i].head; c != nil; c = c.next {
			c.owed = int32(socket.Unread(int(c.fd)))
		}
	}
	s.spare.Close()
	for fd := range s.listeners {
		s.drainAcceptQueue(fd)
		s.Unlisten(fd)
	}
	var conns []*conn // since draining changes the lists
	for _, st := range waitingForInput {
		for c := s.lists[st].head; c != nil; c = c.next {
			conns = append(conns, c)
		}
	}
	for _, c := range conns {
		if c.waitsForInput() { // and was not reset for the sake of another
			c.drain()
		}
	}
	s.connClosed()
}

// conns returns the number of open connections.
func (s *Server) conns() int {
	n := 0
	for i := range s.lists {
		n += s.lists[i].len
	}
	return n
}

// connClosed is called after connections have been closed.
func (s *Server) connClosed() {
	n := s.conns()
	s.config.Counters.c.Set(counterOpen, uint64(n))
	if n == 0 && s.onDrained != nil {
		f := s.onDrained
		s.onDrained = nil
		f()
	}
	if s.acceptPaused && s.canAdmit() {
		s.noRoom = false
		s.setAcceptPaused(false)
	}
}
