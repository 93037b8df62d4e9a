package tcp

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

// from dials the service from a loopback address.
func (s service) from(t *testing.T, host string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}, Timeout: giveUp}
	c, err := d.Dial("tcp", s.at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(giveUp))
	return c
}

// served reports whether the server answers a connection. If not, the server has closed
// it.
func served(t *testing.T, c net.Conn) bool {
	t.Helper()
	if _, err := c.Write([]byte("unix\n")); err != nil {
		return false
	}
	b := make([]byte, 64)
	n, err := c.Read(b)
	if n == 0 && !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Fatalf("the connection was neither answered nor closed: %v", err)
	}
	return isUnix(string(b[:n]))
}

func TestOneSourceCannotHaveAllConnections(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxConns, c.Sources = 4, NewSources(2) })
	first, second := s.from(t, "127.0.0.1"), s.from(t, "127.0.0.1")
	if !served(t, first) || !served(t, second) {
		t.Fatal("a connection within the limit was not served")
	}
	for range 10 {
		more := s.from(t, "127.0.0.1")
		s.await(t, queued, 1)
		s.advance(queuedTimeout)
		if served(t, more) {
			t.Error("a connection over the limit was served")
		}
	}
	if !served(t, s.from(t, "127.0.0.2")) {
		t.Error("another source was not served")
	}
	if !served(t, first) || !served(t, second) {
		t.Error("a refused connection displaced an open one")
	}
	_ = first.Close()
	eventually(t, "no connection is served after one was closed", func() bool { return served(t, s.from(t, "127.0.0.1")) })
	eventually(t, "refusals were not counted", func() bool { return s.config.Counters.Stats().Refused >= 10 })
}

func TestSourcesForgetClosedConnections(t *testing.T) {
	s := NewSources(1)
	for i := range uint64(1000) {
		if !s.acquire(i) || s.acquire(i) {
			t.Fatalf("source %d: want exactly one connection allowed", i)
		}
		s.release(i)
	}
	if n := len(s.open) + len(s.waiting); n != 0 {
		t.Errorf("%d sources are still stored", n)
	}
}

// useUpDescriptors opens descriptors until the process can open no more. giveBack closes
// them; further calls of it do nothing.
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

// TestClientIsRefusedIfNoDescriptorWillBeFree: there is no descriptor, and no connection
// to evict for one. The client does not have to wait.
func TestClientIsRefusedIfNoDescriptorWillBeFree(t *testing.T) {
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
	timeout := unix.NsecToTimeval(int64(giveUp))
	if err := unix.SetsockoptTimeval(late, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(late, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read %d bytes, %v; want end of file", n, err)
	}
	giveBack()
	s.advance(acceptBackoff)
	if !served(t, s.from(t, "127.0.0.1")) {
		t.Error("not served after descriptors were free again")
	}
}

// TestListenerAddedDuringAPauseDoesNotSpin: a listener that is added while accepting is
// paused is paused too.
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
		s.setAcceptPaused(true)
		if err := s.Listen(fds[0], func(why error) { t.Error(why) }); err != nil {
			t.Error(err)
		}
	})
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.wantNoEvents(t)
	s.do(func() { s.setAcceptPaused(false) })
	if !served(t, c) {
		t.Error("not served after the pause")
	}
}

func TestListenerThatBreaksIsGivenUp(t *testing.T) {
	s := start(t, nil)
	var fd int
	s.do(func() {
		for fd = range s.listeners {
		}
		l := s.listeners[fd]
		l.onFailure = func(error) { fd = -1 }
		s.listeners[fd] = l
		s.listenerFailed(fd, unix.EINVAL)
	})
	if fd != -1 || len(s.listeners) != 0 {
		t.Error("the listener was not removed, or onFailure was not called")
	}
	if c, err := net.Dial("tcp", s.at.String()); err == nil {
		_ = c.Close()
		t.Error("the listener still accepts connections")
	}
}

// wantNoEvents checks that no descriptor is ready: the loop runs only the functions that
// the test posts.
func (s service) wantNoEvents(t *testing.T) {
	t.Helper()
	runs := func() (n uint64) {
		s.do(func() {}) // publishes what ran before it; its own run may be published or not
		for _, r := range s.loop.Stats().RunTimes {
			n += r.Count
		}
		return n
	}
	before := runs()
	// Each post runs at most two handlers: the posted function, and that of the wake-up.
	// A loop that spins runs many more.
	const posts, most = 100, 2*100 + 2
	for range posts {
		s.do(func() {})
	}
	if n := runs() - before; n > most {
		t.Errorf("%d handlers ran, want at most %d: the loop spins", n, most)
	}
}

func TestDescriptorsRunningOutPausesAccepting(t *testing.T) {
	s := start(t, nil)
	before := s.dial(t)
	before.send("hi\n")
	before.line()
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
	acceptErrors := func() (n uint64) {
		s.do(func() { n = s.config.Counters.c.Current(counterAcceptErrors) })
		return n
	}
	// Each pause ends with another error.
	for n := range uint64(3) {
		eventually(t, "accept did not fail", func() bool { return acceptErrors() == n+1 })
		before.nothingElse()
		s.wantNoEvents(t)
		s.advance(acceptBackoff - 1)
		s.wantNoEvents(t)
		if got := acceptErrors(); got != n+1 {
			t.Errorf("%d errors of accept, want %d: the loop spins", got, n+1)
		}
		s.advance(1)
	}
	giveBack()
	s.advance(acceptBackoff)
	if _, err := unix.Write(late, []byte("unix\n")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	if n, err := unix.Read(late, b); err != nil || !isUnix(string(b[:n])) {
		t.Errorf("%q, %v", b[:max(n, 0)], err)
	}
}
