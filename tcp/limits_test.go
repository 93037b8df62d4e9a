package tcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

// from dials the service from an address of loopback's.
func (s service) from(t *testing.T, host string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}, Timeout: 5 * time.Second}
	c, err := d.Dial("tcp", s.at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	return c
}

// served reports whether a connection is answered; if not it has ended.
func served(t *testing.T, c net.Conn) bool {
	t.Helper()
	if _, err := c.Write([]byte("unix\n")); err != nil {
		return false
	}
	b := make([]byte, 64)
	n, err := c.Read(b)
	if n == 0 && !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Fatalf("neither answered nor closed: %v", err)
	}
	return isUnix(string(b[:n]))
}

func TestOneSourceCannotHaveAllConnections(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxConns, c.Sources = 4, NewSources(2) })
	first, second := s.from(t, "127.0.0.1"), s.from(t, "127.0.0.1")
	if !served(t, first) || !served(t, second) {
		t.Fatal("not served up to the cap")
	}
	for range 10 {
		if served(t, s.from(t, "127.0.0.1")) {
			t.Error("served beyond the cap")
		}
	}
	if !served(t, s.from(t, "127.0.0.2")) {
		t.Error("another source is not served")
	}
	if !served(t, first) || !served(t, second) {
		t.Error("those who were refused took the place of others")
	}
	_ = first.Close()
	eventually(t, "a place that is free is not given", func() bool { return served(t, s.from(t, "127.0.0.1")) })
	eventually(t, "refusals are not counted", func() bool { return s.Counters.Stats().Refused >= 10 })
}

func TestSourcesForgetWhoIsGone(t *testing.T) {
	s := NewSources(1)
	for i := range uint64(1000) {
		if !s.take(i) || s.take(i) {
			t.Fatal("not one for each")
		}
		s.give(i)
	}
	if len(s.open) != 0 {
		t.Errorf("%d are remembered", len(s.open))
	}
}

// useUpDescriptors leaves the process with none to open. What it returns gives
// them back, and does nothing when it is called again.
func useUpDescriptors(t *testing.T) (giveBack func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	tight := old
	tight.Cur = 64
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &tight); err != nil {
		t.Fatal(err)
	}
	var fds []int
	for {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			break
		}
		fds = append(fds, fd)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		fds = nil
	}
}

// Without a descriptor, and without a connection that could make room, a client
// is told at once.
func TestClientIsTurnedAwayWhereNoDescriptorWillComeFree(t *testing.T) {
	s := start(t, nil)
	late, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(late)
	giveBack := useUpDescriptors(t)
	defer giveBack()
	if err := unix.Connect(late, &unix.SockaddrInet4{Port: int(s.at.Port()), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	timeout := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(late, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(late, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("%d bytes, %v; want the end", n, err)
	}
	giveBack()
	if !served(t, s.from(t, "127.0.0.1")) {
		t.Error("not served when there are descriptors again")
	}
}

// Who waits to be accepted because nobody could make room comes in as soon as
// somebody can: not only when a connection is closed.
func TestClientWaitsNoLongerThanUntilRoomCanBeMade(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxConns, c.Framing = 1, Line })
	slow := s.dial(t)
	_ = slow.SetDeadline(time.Now().Add(60 * time.Second))
	const n = 100_000 // of whose answers no queue holds all
	go func() { _, _ = slow.Write(bytes.Repeat([]byte("json\n"), n)) }()
	eventually(t, "the server never had to wait for its client", func() (waits bool) {
		s.do(func() { waits = s.lists[writing].len == 1 })
		return waits
	})
	other := s.dial(t)
	other.send("unix\n")
	eventually(t, "the listener is not paused", func() (paused bool) {
		s.do(func() { paused = s.paused })
		return paused
	})
	for range n {
		slow.line()
	}
	if got := other.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
}

// A listener that comes when nothing is accepted is left alone like the others.
func TestListenerAddedDuringAPauseDoesNotSpin(t *testing.T) {
	s := start(t, nil)
	fds, err := socket.Open(socket.TCP, netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	at, err := socket.Addr(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	s.do(func() {
		s.pause(true)
		if err := s.Listen(fds[0], func(why error) { t.Error(why) }); err != nil {
			t.Error(err)
		}
	})
	turns := s.loop.Stats().Turns
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.Sleep(100 * time.Millisecond) // the time that is looked at
	if n := s.loop.Stats().Turns - turns; n > 10 {
		t.Errorf("%d turns of the loop", n)
	}
	s.do(func() { s.pause(false) })
	if !served(t, c) {
		t.Error("not served afterwards")
	}
}

func TestListenerThatBreaksIsGivenUp(t *testing.T) {
	s := start(t, nil)
	var fd int
	s.do(func() {
		for fd = range s.listeners {
		}
		l := s.listeners[fd]
		l.gone = func(error) { fd = -1 }
		s.listeners[fd] = l
		s.lose(fd, unix.EINVAL)
	})
	if fd != -1 || len(s.listeners) != 0 {
		t.Error("it is still there, or nobody was told")
	}
	if c, err := net.Dial("tcp", s.at.String()); err == nil {
		_ = c.Close()
		t.Error("still listening")
	}
}
