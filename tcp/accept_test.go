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

// from dials the service from an address of loopback's.
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
		more := s.from(t, "127.0.0.1")
		s.await(t, queued, 1)
		s.advance(queuedTimeout)
		if served(t, more) {
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
	eventually(t, "refusals are not counted", func() bool { return s.config.Counters.Stats().Refused >= 10 })
}

func TestSourcesForgetWhoIsGone(t *testing.T) {
	s := NewSources(1)
	for i := range uint64(1000) {
		if !s.acquire(i) || s.acquire(i) {
			t.Fatal("not one for each")
		}
		s.release(i)
	}
	if len(s.open)+len(s.waiting) != 0 {
		t.Errorf("%d are remembered", len(s.open)+len(s.waiting))
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
	timeout := unix.NsecToTimeval(int64(giveUp))
	if err := unix.SetsockoptTimeval(late, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Read(late, make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("%d bytes, %v; want the end", n, err)
	}
	giveBack()
	s.advance(acceptBackoff)
	if !served(t, s.from(t, "127.0.0.1")) {
		t.Error("not served when there are descriptors again")
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
		l.onFailure = func(error) { fd = -1 }
		s.listeners[fd] = l
		s.listenerFailed(fd, unix.EINVAL)
	})
	if fd != -1 || len(s.listeners) != 0 {
		t.Error("it is still there, or nobody was told")
	}
	if c, err := net.Dial("tcp", s.at.String()); err == nil {
		_ = c.Close()
		t.Error("still listening")
	}
}

// wantNoEvents checks that no descriptor is reported as ready: each turn of the loop
// handles nothing but what the test posts.
func (s service) wantNoEvents(t *testing.T) {
	t.Helper()
	runs := func() (n uint64) {
		s.do(func() {}) // publishes the turn before; its own run may be published or not
		for _, r := range s.loop.Stats().RunTimes {
			n += r.Count
		}
		return n
	}
	before := runs()
	// A posted function may run before the handler of its wake-up does, which then
	// finds nothing. A loop that spins runs handlers all the time.
	const posts, most = 100, 2*100 + 2
	for range posts {
		s.do(func() {})
	}
	if n := runs() - before; n > most {
		t.Errorf("%d handlers ran, want %d at most: the loop spins", n, most)
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
		eventually(t, "the limit was not felt", func() bool { return acceptErrors() == n+1 })
		before.nothingElse()
		s.wantNoEvents(t)
		s.advance(acceptBackoff - 1)
		s.wantNoEvents(t)
		if got := acceptErrors(); got != n+1 {
			t.Errorf("%d errors of accept, want %d: it spins", got, n+1)
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
