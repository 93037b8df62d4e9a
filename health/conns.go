package health

import (
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"nowd/socket"
)

// sendBuffer is the SO_SNDBUF of a connection, in bytes. It limits what the kernel keeps for
// a client that does not read.
const sendBuffer = 32 << 10

// maxHead is an upper bound on the bytes that a client may send before its request is
// answered. Beyond it the connection is closed at once: http.Server's own answer to a large
// header would keep the connection open for half a second.
const maxHead = 6 << 10

// tooLarge is the answer to a client that sends more than maxHead.
const tooLarge = "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

const (
	// ackTimeout is how long Close waits for the client's last acknowledgement.
	ackTimeout = 5 * time.Second
	// ackInterval is the time between two checks for it.
	ackInterval = 100 * time.Millisecond
)

// conns are the open connections of a server, at most MaxConns. At the cap admit evicts the
// connection that has been idle for the longest time. A connection with an unfinished
// request is idle. If requests are being answered on all of them, admit evicts the one whose
// request came first. The zero value is empty.
type conns struct {
	mu        sync.Mutex
	idle      connList // no request is being answered; the longest idle first
	answering connList // a request is being answered; the oldest request first
	open      int      // in both lists
}

// conn is an accepted connection of a server.
type conn struct {
	net.Conn
	conns *conns

	// Guarded by conns.mu.
	list       *connList // nil after the connection is closed
	prev, next *conn

	unanswered atomic.Int32 // bytes read since a request was last answered
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.unanswered.Add(int32(n)) > maxHead {
		_, _ = io.WriteString(c.Conn, tooLarge)
		return 0, io.EOF
	}
	return n, err
}

// admit adds an accepted connection. If MaxConns are open, it evicts another one.
func (cs *conns) admit(accepted net.Conn) net.Conn {
	if c, ok := accepted.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = c.SetWriteBuffer(sendBuffer)
	}
	c := &conn{Conn: accepted, conns: cs}
	cs.mu.Lock()
	var victim *conn
	if cs.open == MaxConns {
		if victim = cs.idle.first; victim == nil {
			victim = cs.answering.first
		}
		cs.forget(victim)
	}
	cs.open++
	c.moveTo(&cs.idle)
	cs.mu.Unlock()
	if victim != nil {
		victim.closeNow()
	}
	return c
}

// forget removes a connection from its list. The caller holds cs.mu.
func (cs *conns) forget(c *conn) {
	if c.list != nil {
		c.moveTo(nil)
		cs.open--
	}
}

// Close implements net.Conn. If the client has not acknowledged all answers, Close only
// shuts down the sending side. The connection then counts as idle until the client has
// acknowledged them, or for ackTimeout. If Close closed it at once, the kernel would keep the
// answers in memory that no limit counts.
func (c *conn) Close() error {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || c.unacknowledged() == 0 || w.CloseWrite() != nil {
		return c.closeNow()
	}
	c.closeWhenAcknowledged(int(ackTimeout / ackInterval))
	return nil
}

// closeWhenAcknowledged closes the connection when the client has acknowledged everything,
// or at the last check. checks is the number of checks, one in each ackInterval.
func (c *conn) closeWhenAcknowledged(checks int) {
	time.AfterFunc(ackInterval, func() {
		if checks > 1 && c.unacknowledged() > 0 {
			c.closeWhenAcknowledged(checks - 1)
			return
		}
		_ = c.closeNow()
	})
}

// closeNow closes the connection. It resets it if the client has not acknowledged
// everything.
func (c *conn) closeNow() error {
	if l, ok := c.Conn.(interface{ SetLinger(seconds int) error }); ok && c.unacknowledged() > 0 {
		_ = l.SetLinger(0)
	}
	c.conns.mu.Lock()
	c.conns.forget(c)
	c.conns.mu.Unlock()
	return c.Conn.Close()
}

// unacknowledged returns the number of sent bytes that the client has not acknowledged. It
// returns 0 if the connection is closed.
func (c *conn) unacknowledged() (n int) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { n = socket.Unsent(int(fd)) })
	return n
}

// connKey is the key of the *conn in the context of a request.
type connKey struct{}

// whileAnswering returns a handler that calls h. Meanwhile the request's connection is in
// cs.answering.
func (cs *conns) whileAnswering(h http.Handler) http.Handler {
	move := func(c *conn, to *connList) {
		cs.mu.Lock()
		defer cs.mu.Unlock()
		if c.list != nil {
			c.moveTo(to)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if c, ok := r.Context().Value(connKey{}).(*conn); ok {
			c.unanswered.Store(0)
			move(c, &cs.answering)
			defer move(c, &cs.idle)
		}
		h.ServeHTTP(w, r)
	})
}

// connList is a list of connections, in the order in which they were added.
type connList struct{ first, last *conn }

// moveTo moves c from its list to the end of another. Either list may be nil. The caller
// holds conns.mu.
func (c *conn) moveTo(to *connList) {
	if from := c.list; from != nil {
		if c.prev == nil {
			from.first = c.next
		} else {
			c.prev.next = c.next
		}
		if c.next == nil {
			from.last = c.prev
		} else {
			c.next.prev = c.prev
		}
		c.prev, c.next = nil, nil
	}
	if c.list = to; to == nil {
		return
	}
	if c.prev = to.last; c.prev == nil {
		to.first = c
	} else {
		c.prev.next = c
	}
	to.last = c
}
