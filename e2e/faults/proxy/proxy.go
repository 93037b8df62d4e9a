// Package proxy is a TCP proxy that does to connections what bad networks and bad clients do: it delays, splits, cuts
// off, resets and stalls them. What it does to each is planned, so whoever knows the plan knows what reached the server.
//
// A client begins by sending its connection's number, eight bytes, the most significant first. By it both ends know the
// plan; the server sees nothing of it.
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

// NumberSize is how many bytes a connection's number takes.
const NumberSize = 8

// AppendNumber appends what a client has to send first.
func AppendNumber(b []byte, number uint64) []byte { return binary.BigEndian.AppendUint64(b, number) }

// Proxy passes connections on. Its methods are safe for use from any goroutine.
type Proxy struct {
	listener net.Listener
	upstream func(number uint64) string
	plan     func(number uint64) Plan
	failed   atomic.Int64

	mu     sync.Mutex
	open   map[net.Conn]struct{} // nil once the proxy is closed
	passes sync.WaitGroup
}

// Listen returns a proxy that accepts connections at an address, and passes each on to where upstream says, the way that
// plan says. Both are called from several goroutines.
func Listen(address string, upstream func(number uint64) string, plan func(number uint64) Plan) (*Proxy, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, upstream: upstream, plan: plan, open: make(map[net.Conn]struct{})}
	p.passes.Go(p.accept)
	return p, nil
}

// Addr returns where it listens.
func (p *Proxy) Addr() net.Addr { return p.listener.Addr() }

// Failed returns how many connections to the server could not be made.
func (p *Proxy) Failed() int { return int(p.failed.Load()) }

// Close ends it, and all its connections, and waits until nothing is left of them.
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

// hold takes note of a connection, so that Close finds it. It reports false, and closes it, if that is too late.
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
			return // it is closed; or short of descriptors, which the tests see to
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

// dial connects to the server. A window has to be chosen before the connection is made: man 7 tcp.
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

// reset has a connection end with a reset: man 7 socket, SO_LINGER.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	c.Close()
}

const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// passRequests returns when the client has sent all, or one of the two is gone.
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
				// The server has closed. The client sees that, or a reset, by the answers.
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

// passAnswers returns when the server has sent all, or one of the two is gone. A server that resets resets the client.
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

// pass waits, once, if so many bytes are enough.
func (s *Stall) pass(passed int) {
	if s.For > 0 && passed >= s.After {
		time.Sleep(s.For)
		s.For = 0
	}
}
