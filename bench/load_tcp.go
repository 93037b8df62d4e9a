//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// tcpLoad sends requests on connections.
type tcpLoad struct {
	meter      meter
	conns      []tcpConn
	epoll      int
	events     []unix.EpollEvent
	in         *messages // to receive with timestamps; nil unless Ages is set
	buf        []byte
	ask        []byte // Depth requests
	unanswered int
}

type tcpConn struct {
	fd         int32
	unanswered int32
	sent       time.Duration
}

func newTCPLoad(c loadConfig) (*tcpLoad, error) {
	l := &tcpLoad{
		meter:  meter{loadConfig: c},
		events: make([]unix.EpollEvent, 256),
		buf:    make([]byte, 64<<10),
		ask:    requests(c.Depth),
	}
	var err error
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if c.Ages {
		l.in = newMessages(false, true)
	}
	fds, err := connect(c)
	if err != nil {
		return nil, err
	}
	for i, fd := range fds {
		if c.Ages {
			if err := enableTimestamps(fd); err != nil {
				return nil, err
			}
		}
		if err := watch(l.epoll, fd, int32(i)); err != nil {
			return nil, err
		}
		l.conns = append(l.conns, tcpConn{fd: int32(fd)})
	}
	return l, nil
}

func (l *tcpLoad) step(now time.Duration, drain bool) (busy bool, err error) {
	if l.unanswered == 0 && !drain { // the first step
		for i := range l.conns {
			if err := l.request(&l.conns[i], l.meter.now()); err != nil {
				return true, err
			}
		}
	}
	var n int
	if l.meter.Spin {
		n, err = ready(l.epoll, l.events)
	} else {
		n, err = unix.EpollWait(l.epoll, l.events, 10)
	}
	if err != nil && !errors.Is(err, unix.EINTR) {
		return false, os.NewSyscallError("epoll_wait", err)
	}
	n = max(n, 0)
	for _, e := range l.events[:n] {
		c := &l.conns[e.Fd]
		if err := l.receive(c); err != nil {
			return true, err
		}
		if c.unanswered > 0 {
			continue
		}
		now := l.meter.now()
		l.meter.roundTrip.add(now - c.sent)
		if drain {
			continue
		}
		if err := l.request(c, now); err != nil {
			return true, err
		}
	}
	return n > 0, nil
}

func (l *tcpLoad) request(c *tcpConn, now time.Duration) error {
	c.sent = now
	if n, err := send(int(c.fd), l.ask); n < len(l.ask) {
		return fmt.Errorf("%d of %d bytes sent: %w", n, len(l.ask), err)
	}
	c.unanswered += int32(l.meter.Depth)
	l.unanswered += l.meter.Depth
	return nil
}

// receive receives and counts the answers that have arrived on a connection.
func (l *tcpLoad) receive(c *tcpConn) error {
	var b []byte
	var arrived int64
	var known bool
	var err error
	if l.in != nil {
		if _, err = l.in.receive(int(c.fd), 1); err == nil {
			b = l.in.get(0)
			arrived, known = l.in.arrived(0)
		}
	} else {
		var n int
		n, err = receive(int(c.fd), l.buf)
		b = l.buf[:n]
	}
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return os.NewSyscallError("recv", err)
	case len(b) == 0:
		return errors.New("the server closed a connection")
	}
	n := int32(1)
	if l.meter.Depth == 1 {
		err = l.meter.countAnswer(b, arrived, known)
	} else {
		// A read may end within an answer, so count the ends of lines.
		n = int32(bytes.Count(b, []byte("\n")))
		l.meter.result.All += uint64(n)
	}
	c.unanswered -= n
	l.unanswered -= int(n)
	if c.unanswered < 0 {
		return errors.New("the server sent more answers than requests")
	}
	return err
}

func (l *tcpLoad) inFlight() int { return l.unanswered }

// connsPerSource is the maximum number of connections from one source address. An address
// has about 28,000 ephemeral ports.
const connsPerSource = 5000

// connsAtOnce is the number of connections that are opened before the server must have
// accepted them. They fit into any accept queue.
const connsAtOnce = 64

// connect opens the connections, and sends one request on each.
func connect(c loadConfig) ([]int, error) {
	var fds []int
	for len(fds) < c.Sockets {
		first := len(fds)
		for i := range min(connsAtOnce, c.Sockets-first) {
			fd, err := connectFrom(sourceOf(first+i), c.Addr)
			if err != nil {
				return nil, fmt.Errorf("connection %d: %w", first+i, err)
			}
			fds = append(fds, fd)
		}
		if err := askOnce(fds[first:], requests(1)); err != nil {
			return nil, fmt.Errorf("connections from %d on: %w", first, err)
		}
	}
	return fds, nil
}

func askOnce(fds []int, request []byte) error {
	for _, fd := range fds {
		if _, err := unix.Write(fd, request); err != nil {
			return os.NewSyscallError("write", err)
		}
	}
	answer := make([]byte, 256)
	for _, fd := range fds {
		n, err := unix.Read(fd, answer)
		if err != nil {
			return os.NewSyscallError("read", err)
		}
		if n == 0 {
			return errors.New("the server closed a connection")
		}
	}
	return nil
}

// sourceOf returns the source address of connection i: 127.0.0.1 and so on.
func sourceOf(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i/connsPerSource)})
}

func connectFrom(source netip.Addr, to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	for _, opt := range [...]struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1}, // connect chooses the port: it knows the destination
	} {
		if err := unix.SetsockoptInt(fd, opt.level, opt.name, opt.value); err != nil {
			return -1, os.NewSyscallError("setsockopt", err)
		}
	}
	// Close with a reset. Thousands of connections in TIME_WAIT would disturb the next
	// measurement.
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return -1, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(source, 0))); err != nil {
		return -1, os.NewSyscallError("bind", err)
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil {
		return -1, os.NewSyscallError("connect", err)
	}
	return fd, nil
}

// loadIdle opens connections, sends one request on each, and measures the growth of the
// server's resident memory.
func loadIdle(c loadConfig) (result, error) {
	before, err := resident(c.PID)
	if err != nil {
		return result{}, err
	}
	fds, err := connect(c)
	if err != nil {
		return result{}, err
	}
	after, err := resident(c.PID)
	return result{All: uint64(len(fds)), Resident: after - before}, err
}
