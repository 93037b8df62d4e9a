// Package tcp answers requests on connections: lines of text, bursts of text without a
// newline, or HTTP. A Server serves the connections of one event loop.
//
// How a connection is handled: when a listener is ready, the server accepts the
// connection (accept.go). If the connection's source is over its limit (sources.go), the
// connection waits until another of that source is closed (queue.go). If the server is at
// its connection cap, it evicts a connection (evict.go). A memory budget bounds what
// connections hold (budget.go).
//
// When the connection is readable, the server reads its input and changes the interest to
// PollOut. The loop calls the server again. The server divides the input into requests
// (framing.go), reads the clock, makes the answers, and writes them together (conn.go). If
// the kernel accepts them all, the server changes the interest back to PollIn.
//
// A connection's state is what it waits for (state.go). Each state has a timeout
// (timeout.go). A connection ends with a lingering close, a close or a reset (close.go).
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
	ServerFirst  ServerFirst   // if not nil, used instead of Text; it answers without a request
	Framing      Framing       // how input is divided into requests
	MaxConns     int           // the connection cap; at the cap, a connection is evicted: evict.go
	Budget       int           // bytes that connections may hold beyond ConnMemory each, 0 for no limit: see ServerBudget
	Sources      *Sources      // the connection limit of each source; nil for none
	IdleTimeout  time.Duration // how long a client may send no request
	WriteTimeout time.Duration // how long a client may acknowledge nothing, or leave an HTTP head incomplete
	NoDelay      bool          // TCP_NODELAY of tcp(7)
	Logger       *slog.Logger
	Counters     *Counters
}

// ServerFirst is a server-first protocol, such as daytime (RFC 867) or time (RFC 868):
// the server accepts a connection, sends its answer at once, and closes.
type ServerFirst interface {
	// Append appends the answer for the time now to b. If the outcome is not an answer,
	// Append appends nothing, and the server closes the connection.
	Append(b []byte, now time.Time) ([]byte, answer.Outcome)
}

const (
	// readSize is the maximum number of bytes read in one event.
	readSize = 2 << 10

	// writeChunk is the length in bytes at which no more answers are appended to a
	// write. It bounds the age of the first answer's time, and the work lost when a
	// client does not read.
	writeChunk = 8 << 10

	partialLineTimeout = 50 * time.Millisecond
	lingeringTimeout   = time.Second

	// acknowledgingTimeout is how often the server checks whether a client has
	// acknowledged everything. Pollers do not report that.
	acknowledgingTimeout = 100 * time.Millisecond
)

// Server serves the connections of one loop. Only the loop's goroutine may call its
// methods.
type Server struct {
	config    Config
	loop      *reactor.Loop
	listeners map[int]listener // by descriptor

	lists     [numStates]list   // the open connections, by state
	charges   charges           // the memory of open connections
	idleSlack time.Duration     // an idle connection may be closed this much later than IdleTimeout
	waiters   map[*conn]*waiter // the queued connections' waits in Sources
	free      *conn             // closed connections to reuse, linked by next

	timer   *reactor.Timer // calls checkTimeouts
	timerAt time.Duration  // when timer fires, on the loop's clock; 0 if it is not set

	acceptPaused bool
	acceptErrors int            // consecutive
	evictRead    int            // bytes of input that evictions have handled in the listener's current event
	noRoom       bool           // accepting is paused until a connection can be evicted
	roomTimer    *reactor.Timer // calls resumeIfRoom
	spare        *socket.Spare

	draining  bool   // Shutdown was called
	onDrained func() // called when the last connection is closed; nil once called

	// Buffers, lent to the connection whose event is being handled.
	in          []byte
	received    []byte // unparsed input of receivedBy, to answer when the loop calls it again
	receivedBy  *conn  // the connection that received belongs to
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
		// Moving a connection in the idle list touches its neighbours' memory. So it
		// does not move for each request, but at most once in idleSlack.
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

// Listen accepts connections from fd, a non-blocking listening socket. It takes ownership
// of fd and closes it on error. If the listener fails later, the server closes it and
// calls onFailure.
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

// Shutdown drains the server. It refuses queued connections, accepts those in the accept
// queues, closes the listeners, answers the input that has arrived, and half-closes each
// connection. Input that arrives later is discarded. The server waits for clients that
// read slowly, and calls onDrained when the last connection is closed.
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
	var conns []*conn // a copy, since draining changes the lists
	for _, st := range waitingForInput {
		for c := s.lists[st].head; c != nil; c = c.next {
			conns = append(conns, c)
		}
	}
	for _, c := range conns {
		if c.waitsForInput() { // draining another one may have reset it
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

// connClosed updates the number of open connections after a close. It may complete
// Shutdown or resume accepting.
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
