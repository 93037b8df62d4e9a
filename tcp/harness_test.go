package tcp

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/clock"
	"nowd/reactor"
	"nowd/socket"
)

// giveUp is how long a test waits for a condition before it fails. It is long, so that a
// busy machine fails no test: it only ends tests that hang.
const giveUp = 5 * time.Minute

// fakeClock is a loop's clock that stands still until a test advances it.
type fakeClock struct{ atomic.Int64 }

func (c *fakeClock) now() time.Duration { return time.Duration(c.Load()) }

func (c *fakeClock) move(d time.Duration) { c.Add(int64(d)) }

// service is a server on its own loop.
type service struct {
	*Server
	at    netip.AddrPort
	clock *fakeClock // the loop's clock; nil for the host's
}

// start returns a service whose clock stands still: timeouts pass only in advance, however
// long the machine pauses.
func start(t testing.TB, change func(*Config)) service {
	t.Helper()
	return startWithClock(t, new(fakeClock), change)
}

func startWithClock(t testing.TB, now *fakeClock, change func(*Config)) service {
	t.Helper()
	fds, err := socket.Open(socket.TCP, netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	at, err := socket.Addr(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	var loop reactor.Config
	if now != nil {
		loop.Clock = now.now
	}
	l, err := reactor.New(loop)
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Clock:        clock.New(clock.Config{}),
		Text:         answer.NewText(clock.New(clock.Config{}), time.UTC, answer.DateTime, true),
		MaxConns:     1000,
		IdleTimeout:  time.Minute,
		WriteTimeout: 10 * time.Second,
		NoDelay:      true,
		Logger:       slog.New(slog.DiscardHandler),
		Counters:     NewCounters(l),
	}
	if change != nil {
		change(&c)
	}
	s := NewServer(l, c)
	if err := s.Listen(fds[0], func(why error) { t.Errorf("the listener failed: %v", why) }); err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		if err := l.Run(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		l.Stop()
		running.Wait()
		if n := l.Stats().Panics; n != 0 {
			t.Errorf("%d panics", n)
		}
		_ = l.Close()
		for c := s.lists[acknowledging].head; c != nil; c = s.lists[acknowledging].head { // these are not registered
			c.release()
		}
		s.spare.Close() // Shutdown does too, but not every test calls it
		if n := s.conns(); n != 0 {
			t.Errorf("%d connections are open after Close", n)
		}
		if n := s.charges.total; n != 0 {
			t.Errorf("%d bytes are charged after Close", n)
		}
	})
	return service{s, at, now}
}

// do runs f on the loop and waits for its end.
func (s service) do(f func()) {
	done := make(chan struct{})
	s.loop.Post(func() { f(); close(done) })
	<-done
}

// held runs f while the loop is blocked, as on a busy host.
func (s service) held(f func()) {
	held, release := make(chan struct{}), make(chan struct{})
	s.loop.Post(func() { close(held); <-release })
	<-held
	f()
	close(release)
}

// advance moves the loop's clock by d, and waits until the loop has run the timers that
// are due.
func (s service) advance(d time.Duration) {
	s.do(func() {}) // wait for handlers that run at the old time
	s.clock.move(d)
	done := make(chan struct{})
	s.loop.Post(func() { s.loop.After(0, func() { close(done) }) })
	<-done
}

// await waits until n connections are in a state.
func (s service) await(t testing.TB, st state, n int) {
	t.Helper()
	eventually(t, "the number of connections in the state is not as wanted", func() bool { return s.count(st) == n })
}

// count returns the number of connections in a state.
func (s service) count(st state) (n int) {
	s.do(func() { n = s.lists[st].len })
	return n
}

// awaitClosed waits until no connection is open. It advances the clock, since connections
// in state acknowledging close on a timeout.
func (s service) awaitClosed(t testing.TB) {
	t.Helper()
	eventually(t, "connections are still open", func() bool {
		s.advance(acknowledgingTimeout)
		return s.config.Counters.Stats().Open == 0
	})
}

// wantAnswers checks that the service has given n answers and no more.
func (s service) wantAnswers(t testing.TB, n uint64) {
	t.Helper()
	var got uint64
	s.do(func() { got = s.answers() })
	if got != n {
		t.Errorf("%d answers, want %d", got, n)
	}
}

// answers returns the number of answers that the server has counted. Only the loop's
// goroutine may call it.
func (s *Server) answers() (n uint64) {
	for o := range answer.NumOutcomes {
		n += s.config.Counters.c.Current(counterOutcomes + o)
	}
	return n
}

// awaitUnread waits until c's socket holds n unread bytes. The loop must be blocked.
func (c *conn) awaitUnread(t testing.TB, n int) {
	t.Helper()
	eventually(t, "the client's bytes did not arrive", func() bool {
		got, _, err := unix.Recvfrom(int(c.fd), make([]byte, n+1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return err == nil && got == n
	})
}

// client is a connection to a service.
type client struct {
	t testing.TB
	*net.TCPConn
	*bufio.Reader
}

func (s service) dial(t testing.TB) client {
	t.Helper()
	c, err := net.Dial("tcp", s.at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(giveUp)); err != nil {
		t.Fatal(err)
	}
	return client{t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (c client) Read(b []byte) (int, error) { return c.Reader.Read(b) }

func (c client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.TCPConn, s); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) line() string {
	c.t.Helper()
	s, err := c.ReadString('\n')
	if err != nil {
		c.t.Fatalf("%q, %v", s, err)
	}
	return s
}

// end checks that the server closes without another answer.
func (c client) end() {
	c.t.Helper()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		c.t.Fatalf("%q, %v; want end of file", b, err)
	}
}

// nothingElse checks that there is no unread answer and no unparsed input: the next answer
// is that to the next request.
func (c client) nothingElse() {
	c.t.Helper()
	c.send("unixms\n")
	if got := c.line(); !isUnixMS(got) {
		c.t.Fatalf("%q, want the answer to the last request", got)
	}
}

func isTime(s string) bool {
	_, err := time.Parse("2006-01-02 15:04:05.000000\n", s)
	return err == nil
}

func isUnix(s string) bool { return len(s) == 11 && strings.Trim(s, "0123456789") == "\n" }

func isUnixMS(s string) bool { return len(s) == 14 && strings.Trim(s, "0123456789") == "\n" }

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(giveUp); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}
