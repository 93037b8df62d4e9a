package reactor

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// eachPoller runs a test with every poller.
func eachPoller(t *testing.T, test func(t *testing.T, l *Loop)) {
	for _, name := range Pollers() {
		t.Run(name, func(t *testing.T) { test(t, newLoop(t, name)) })
	}
}

func newLoop(t testing.TB, poller string) *Loop { return newLoopWithClock(t, poller, nil) }

func newLoopWithClock(t testing.TB, poller string, clock func() time.Duration) *Loop {
	l, err := New(Config{Poller: poller, Logger: slog.New(slog.DiscardHandler), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// hasEdge reports whether l's poller is epoll.
func hasEdge(l *Loop) bool { return fmt.Sprintf("%T", l.poller) == "*reactor.epollPoller" }

// A fakeClock is a loop's clock that moves only when a test moves it. If the
// loop is in Run, the test must then wake it with Post. A test that runs turns
// itself uses turnOnce, which calls Post.
type fakeClock struct{ elapsed atomic.Int64 }

func (c *fakeClock) now() time.Duration      { return time.Duration(c.elapsed.Load()) }
func (c *fakeClock) advance(d time.Duration) { c.elapsed.Add(int64(d)) }

// eachPollerWithFakeClock runs a test with every poller, on a fake clock.
func eachPollerWithFakeClock(t *testing.T, test func(t *testing.T, l *Loop, c *fakeClock)) {
	for _, name := range Pollers() {
		t.Run(name, func(t *testing.T) {
			c := new(fakeClock)
			test(t, newLoopWithClock(t, name, c.now), c)
		})
	}
}

// turnOnce runs one turn. The turn does not wait, because turnOnce posts a
// function first.
func turnOnce(t *testing.T, l *Loop) {
	t.Helper()
	l.Post(func() {})
	if err := l.turn(); err != nil {
		t.Fatal(err)
	}
}

// runUntil runs turns until cond holds. The test fails after 30 s.
func runUntil(t *testing.T, l *Loop, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	defer func(p poller) { l.poller = p }(l.poller)
	l.poller = boundedPoller{l.poller, cond, deadline}
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not come true within 30 s")
		}
		if err := l.turn(); err != nil {
			t.Fatal(err)
		}
	}
}

// A boundedPoller does not wait once its condition holds, or after its deadline.
type boundedPoller struct {
	poller
	cond     func() bool
	deadline time.Time
}

func (p boundedPoller) wait(events []event, timeout time.Duration) ([]event, error) {
	limit := max(0, time.Until(p.deadline))
	if p.cond() {
		limit = 0
	}
	if timeout < 0 || timeout > limit {
		timeout = limit
	}
	return p.poller.wait(events, timeout)
}

// A countingPoller counts the changes of the kernel's masks, and records the
// timeout of each wait.
type countingPoller struct {
	poller
	modifyCalls int
	timeouts    []time.Duration
}

func (p *countingPoller) modify(fd int, mask Events, generation uint32) error {
	p.modifyCalls++
	return p.poller.modify(fd, mask, generation)
}

func (p *countingPoller) wait(events []event, timeout time.Duration) ([]event, error) {
	p.timeouts = append(p.timeouts, timeout)
	return p.poller.wait(events, timeout)
}

// pair returns two connected stream sockets.
func pair(t testing.TB) (a, b int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	return fds[0], fds[1]
}

// tcpPair returns a TCP connection over loopback. The caller closes the client.
func tcpPair(t *testing.T) (client, server int) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ln)
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(ln, 1); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(ln)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(client, addr); err != nil {
		t.Fatal(err)
	}
	if server, _, err = unix.Accept(ln); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(server) })
	if err := unix.SetNonblock(server, true); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func write(t testing.TB, fd int, s string) {
	t.Helper()
	if _, err := unix.Write(fd, []byte(s)); err != nil {
		t.Fatal(err)
	}
}

// drain reads until the socket is empty and returns how many bytes it read.
func drain(fd int) (n int) {
	var b [64 << 10]byte
	for {
		m, err := unix.Read(fd, b[:])
		if err != nil || m == 0 {
			return n
		}
		n += m
	}
}

// fill writes until the socket is full and returns how many bytes it wrote.
func fill(t *testing.T, fd int) (n int) {
	for b := make([]byte, 4096); ; {
		m, err := unix.Write(fd, b)
		if err == unix.EAGAIN {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
}

func add(t testing.TB, l *Loop, fd int, interest Events, h Handler) {
	t.Helper()
	if err := l.Add(fd, interest, h); err != nil {
		t.Fatal(err)
	}
}

func modify(t testing.TB, l *Loop, fd int, interest Events) {
	t.Helper()
	if err := l.Modify(fd, interest); err != nil {
		t.Error(err)
	}
}

// A recorder is a handler that records its calls.
type recorder struct {
	got     []Events // of each call of Ready
	handled Events   // returned by Ready, besides PollIn and PollOut
	removed []error  // the reason of each call of Removed
	do      func(fd int, ev Events)
}

func (r *recorder) Ready(fd int, ev Events) Events {
	r.got = append(r.got, ev)
	if r.do != nil {
		r.do(fd, ev)
	}
	return PollIn | PollOut | r.handled
}

func (r *recorder) Removed(fd int, reason error) { r.removed = append(r.removed, reason) }

func (r *recorder) last() Events {
	if len(r.got) == 0 {
		return 0
	}
	return r.got[len(r.got)-1]
}

// An answerer reads at PollIn and answers at PollOut. It switches its interest
// in between, as the time service does.
type answerer struct {
	t      testing.TB
	l      *Loop
	unsent int // bytes of answers
	buf    [512]byte
}

func (s *answerer) Ready(fd int, ev Events) Events {
	if ev&PollIn != 0 {
		n, err := unix.Read(fd, s.buf[:])
		if err == nil {
			s.unsent += n
			modify(s.t, s.l, fd, PollOut)
		}
	}
	if ev&PollOut != 0 {
		for s.unsent > 0 {
			n, err := unix.Write(fd, s.buf[:min(s.unsent, len(s.buf))])
			if err != nil {
				return PollOut
			}
			s.unsent -= n
		}
		modify(s.t, s.l, fd, PollIn)
	}
	return ev
}

func (s *answerer) Removed(fd int, reason error) {
	if !errors.Is(reason, ErrClosed) {
		s.t.Errorf("descriptor %d was removed: %v", fd, reason)
	}
}
