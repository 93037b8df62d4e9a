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

// sendBuffer bounds what the kernel holds for a client that does not read.
const sendBuffer = 32 << 10

// maxHead bounds the bytes that a client sends before its request is answered. The
// connection of one that sends more is closed at once: after http.Server's own
// answer to too large a head, it would be kept for half a second.
const maxHead = 6 << 10

// tooLarge is the answer to a client that sends more.
const tooLarge = "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

const (
	// ackTimeout is how long a connection waits for the client's last acknowledgement.
	ackTimeout = 5 * time.Second
	// ackInterval is the time between two looks whether it has come.
	ackInterval = 100 * time.Millisecond
)

// conns are the open connections of a server, MaxConns at most. At the cap a new one
// takes the place of the one on which no request has been answered for the longest time:
// idle, silent or with an unfinished request. If requests are being answered on all of
// them, it is the one whose request came first. Its zero value is empty.
type conns struct {
	mu        sync.Mutex
	idle      connList // on which no request is being answered
	answering connList
	open      int // in both lists
}

// conn is an accepted connection of a server.
type conn struct {
	net.Conn
	conns *conns

	// Guarded by conns.mu.
	list       *connList // nil once it is closed
	prev, next *conn

	unanswered atomic.Int32 // bytes that were read since a request was last answered
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

// admit opens a connection that was accepted, after it has closed another one if
// there are MaxConns.
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

// forget takes a connection off its list. The caller holds the lock.
func (cs *conns) forget(c *conn) {
	if c.list != nil {
		c.moveTo(nil)
		cs.open--
	}
}

// Close implements net.Conn. If the client has not acknowledged all of its answers,
// Close sends the end of file, and the descriptor stays open until it has, for
// ackTimeout at most, and counts as an idle connection. If Close closed it, the kernel
// would keep the answers all the same, and no limit would count them.
func (c *conn) Close() error {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || c.unacknowledged() == 0 || w.CloseWrite() != nil {
		return c.closeNow()
	}
	c.closeWhenAcknowledged(int(ackTimeout / ackInterval))
	return nil
}

// closeWhenAcknowledged looks, so many times at most, whether the client has
// acknowledged all, and then closes the connection.
func (c *conn) closeWhenAcknowledged(looks int) {
	time.AfterFunc(ackInterval, func() {
		if looks > 1 && c.unacknowledged() > 0 {
			c.closeWhenAcknowledged(looks - 1)
			return
		}
		_ = c.closeNow()
	})
}

// closeNow closes the connection. If the client has not acknowledged all, it is reset.
func (c *conn) closeNow() error {
	if l, ok := c.Conn.(interface{ SetLinger(seconds int) error }); ok && c.unacknowledged() > 0 {
		_ = l.SetLinger(0)
	}
	c.conns.mu.Lock()
	c.conns.forget(c)
	c.conns.mu.Unlock()
	return c.Conn.Close()
}

// unacknowledged returns how many bytes the client has not acknowledged, and 0 if the
// connection is closed.
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

// connKey is the key of a connection in the context of its requests.
type connKey struct{}

// whileAnswering returns a handler that calls h, and keeps the request's connection
// on the list of those on which a request is being answered.
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

// connList is a list of connections, the one that came to it first at its start.
type connList struct{ first, last *conn }

// moveTo moves c from the list that it is on, if any, to the end of another, which
// may be nil. The caller holds the lock.
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
