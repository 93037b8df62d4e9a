// Package proxy is a TCP proxy with the faults of bad networks and bad clients: it delays, splits, cuts off, resets and stalls
// connections. Each connection has a plan, from which a test knows what has reached the server.
//
// A client first sends its connection's number, eight bytes in big-endian order, from which both the client and the
// proxy derive the plan. The proxy does not forward it.
package proxy

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// NumberSize is the length of a connection's number in bytes.
const NumberSize = 8

// AppendNumber appends a connection's number, which a client must send first.
func AppendNumber(b []byte, number uint64) []byte { return binary.BigEndian.AppendUint64(b, number) }

// Proxy forwards connections. Any goroutine may call its methods.
type Proxy struct {
	listener net.Listener
	upstream func(number uint64) string
	plan     func(number uint64) Plan
	failed   atomic.Int64

	mu     sync.Mutex
	open   map[net.Conn]struct{} // nil once the proxy is closed
	passes sync.WaitGroup
}

// Listen returns a proxy that accepts connections at an address. It forwards each to the address that upstream returns, by the
// plan that plan returns. It calls both functions from several goroutines.
func Listen(address string, upstream func(number uint64) string, plan func(number uint64) Plan) (*Proxy, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, upstream: upstream, plan: plan, open: make(map[net.Conn]struct{})}
	p.passes.Go(p.accept)
	return p, nil
}

// Addr returns the address at which the proxy listens.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// Failed returns the number of failed connections to the server.
func (p *Proxy) Failed() int { return int(p.failed.Load()) }

// Close ends the proxy and all its connections, and waits for their end.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		c.Close()
	}
	p.open = nil
	p.mu.Unlock()
	p.passes.Wait()
	return err
}

// hold registers a connection for Close. If the proxy is closed, hold closes the connection and returns false.
func (p *Proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		c.Close()
		return false
	}
	p.open[c] = struct{}{}
	return true
}

func (p *Proxy) release(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return // the proxy is closed, or out of descriptors, which the tests prevent
		}
		if p.hold(c) {
			p.passes.Go(func() {
				defer p.release(c)
				p.serve(c.(*net.TCPConn))
			})
		}
	}
}

func (p *Proxy) serve(client *net.TCPConn) {
	var first [NumberSize]byte
	if _, err := io.ReadFull(client, first[:]); err != nil {
		return
	}
	number := binary.BigEndian.Uint64(first[:])
	plan := p.plan(number)
	server, err := dial(p.upstream(number), plan.Window)
	if err != nil {
		p.failed.Add(1)
		reset(client)
		return
	}
	if !p.hold(server) {
		return
	}
	defer p.release(server)

	var answers sync.WaitGroup
	answers.Go(func() { passAnswers(plan, server, client) })
	passRequests(plan, client, server)
	answers.Wait()
}

// dial connects to the server. The window must be set before the connection is made: tcp(7).
func dial(address string, window int) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	if window > 0 {
		d.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			if e := raw.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, window)
			}); e != nil {
				return e
			}
			return err
		}
	}
	c, err := d.DialContext(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// reset makes a connection end with a reset: SO_LINGER of socket(7).
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}

const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// passRequests forwards requests until the client half-closes, or one of the two closes.
func passRequests(plan Plan, client, server *net.TCPConn) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	passed, end := 0, plan.end()
	stall := plan.Requests
	for {
		if passed == end {
			if passed == plan.Reset {
				reset(server)
				reset(client)
				return
			}
			_ = server.CloseWrite()
			_, _ = io.Copy(io.Discard, client)
			return
		}
		stall.pass(passed)
		n, err := client.Read(buf[:])
		for in := buf[:n]; len(in) > 0 && passed != end; {
			size := len(in)
			if plan.Piece > 0 {
				size = min(size, plan.Piece)
			}
			if end != Never {
				size = min(size, end-passed)
			}
			if _, err := server.Write(in[:size]); err != nil {
				// The server has closed. passAnswers forwards the end or the reset to the client.
				_, _ = io.Copy(io.Discard, client)
				return
			}
			in, passed = in[size:], passed+size
			stall.pass(passed)
			if len(in) > 0 && plan.Pause > 0 {
				time.Sleep(plan.Pause)
			}
		}
		switch {
		case passed == end:
		case err == io.EOF:
			_ = server.CloseWrite()
			return
		case err != nil:
			reset(server)
			return
		}
	}
}

// passAnswers forwards answers until the server closes, or one of the two is gone. A reset by the server resets the
// client too.
func passAnswers(plan Plan, server, client *net.TCPConn) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	passed, stall := 0, plan.Answers
	for {
		stall.pass(passed)
		size := bufferSize
		if plan.Piece > 0 {
			size = plan.Piece
		}
		n, err := server.Read(buf[:size])
		if n > 0 {
			if _, err := client.Write(buf[:n]); err != nil {
				_, _ = io.Copy(io.Discard, server)
				return
			}
			passed += n
		}
		if err == io.EOF {
			_ = client.CloseWrite()
			return
		}
		if err != nil {
			reset(client)
			return
		}
	}
}

// pass waits, once, if the offset has reached the stall's.
func (s *Stall) pass(passed int) {
	if s.For > 0 && passed >= s.After {
		time.Sleep(s.For)
		s.For = 0
	}
}
