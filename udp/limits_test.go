package udp

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/guard"
	"nowd/reactor"
	"nowd/socket"
)

// TestMulticastDatagramIsNotAnswered: many hosts would answer one datagram, and its source
// may be spoofed.
func TestMulticastDatagramIsNotAnswered(t *testing.T) {
	at, s := start(t, "0.0.0.0:0")
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	lo, group := [4]byte{127, 0, 0, 1}, [4]byte{239, 255, 77, 77}
	// A socket bound to all addresses receives the groups that any socket on the host
	// has joined.
	if err := unix.SetsockoptIPMreq(c, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: group, Interface: lo}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInet4Addr(c, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, lo); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendto(c, []byte("hi"), 0, &unix.SockaddrInet4{Port: int(at.Port()), Addr: group}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the datagram was not dropped", func() bool { return s.config.Counters.Stats().Drops[guard.DestAddr] == 1 })
	if got := ask(t, dial(t, netip.AddrPortFrom(netip.AddrFrom4(lo), at.Port())), "hi"); !isTime(got) {
		t.Errorf("answer to unicast: %q, want a time", got)
	}
}

func TestOverflowOfTheReceiveBufferIsCounted(t *testing.T) {
	for name, c := range map[string]struct{ size, sent int }{
		"many short": {2, 5000}, // less than half of them fit into the buffer
		"few long":   {60000, 300},
	} {
		t.Run(name, func(t *testing.T) {
			if c.size > MaxRequest && !reportsLength {
				t.Skip("this system does not report the length of a truncated datagram")
			}
			at, s := start(t, "127.0.0.1:0")
			if _, err := socket.Drops(s.fd); err != nil {
				t.Skipf("this system does not report drops: %v", err)
			}
			client := dial(t, at)
			release := hold(s)
			for range c.sent {
				if _, err := client.Write(make([]byte, c.size)); err != nil {
					t.Fatal(err)
				}
			}
			release()
			eventually(t, "requests and overflows do not add up", func() bool {
				st := s.config.Counters.Stats()
				return st.Overflows > 0 && st.Requests+st.Overflows == uint64(c.sent)
			})
		})
	}
}

// TestSocketThatIsShutDownIsGivenUp: the poller would report a socket that was shut down
// in every wait.
func TestSocketThatIsShutDownIsGivenUp(t *testing.T) {
	fd, _ := openSocket(t, "127.0.0.1:0")
	failed := make(chan error, 10)
	made := server(t, 3333)
	s, err := Serve(made.loop, fd, made.config, func(why error) { failed <- why })
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil && !errors.Is(err, unix.ENOTCONN) {
		t.Fatal(err)
	}
	select {
	case <-failed:
	case <-time.After(5 * time.Second):
		t.Fatalf("the socket is still open after %d turns of the loop", s.loop.Stats().Turns)
	}
}

// TestLostSocketIsGivenUpWhenItSends: other code has put a file in the place of the socket.
func TestLostSocketIsGivenUpWhenItSends(t *testing.T) {
	fd, at := openSocket(t, "127.0.0.1:0")
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(null)
	failed := make(chan error, 10)
	made := server(t, at.Port())
	s, err := Serve(made.loop, fd, made.config, func(why error) { failed <- why })
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	client := dial(t, at)
	release := hold(s)
	for range 3 {
		if _, err := client.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
	}
	s.loop.Post(func() {
		s.Ready(s.fd, reactor.PollIn)
		if err := unix.Dup2(null, s.fd); err != nil {
			t.Error(err)
		}
		s.Ready(s.fd, reactor.PollOut)
	})
	release()
	select {
	case why := <-failed:
		if !errors.Is(why, unix.ENOTSOCK) {
			t.Error(why)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the server still has the socket")
	}
	eventually(t, "the unsent replies were not counted", func() bool {
		st := s.config.Counters.Stats()
		return st.Requests == 3 && st.SendErrors == 3
	})
}

// untrusted is a dialect whose clock is never trusted.
type untrusted struct{}

func (untrusted) AppendDatagram(b, _ []byte, _ int, _, _ time.Time) ([]byte, answer.Outcome) {
	return b, answer.Untrusted
}

func TestUntrustedClockIsNotCountedAsABadRequest(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	s.loop.Post(func() { s.config.Dialect = untrusted{} })
	if _, err := dial(t, at).Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drop was not counted", func() bool {
		st := s.config.Counters.Stats()
		return st.Untrusted == 1 && st.NoRequest == 0
	})
}

// recorder is a dialect that records its calls.
type recorder struct {
	requests chan [2]time.Time // received, now
	kisses   chan string       // requests
}

func (d recorder) AppendDatagram(b, req []byte, size int, received, now time.Time) ([]byte, answer.Outcome) {
	d.requests <- [2]time.Time{received, now}
	return append(b, "answer"...), answer.Answered(answer.DateTime)
}

func (d recorder) AppendKiss(b, req []byte, size int) ([]byte, answer.Outcome) {
	d.kisses <- string(req)
	return append(b, "less"...), answer.Answered(answer.KissForm)
}

// startRecording starts a server with a recorder, and returns a client, the recorder and
// the server.
func startRecording(t *testing.T, clock func() time.Duration, change func(*Config)) (net.Conn, recorder, *Server) {
	t.Helper()
	fd, at := openSocket(t, "127.0.0.1:0")
	d := recorder{make(chan [2]time.Time, 1000), make(chan string, 1000)}
	made := serverWithClock(t, at.Port(), clock)
	made.config.Dialect = d
	change(&made.config)
	s, err := Serve(made.loop, fd, made.config, made.onFailure)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	return dial(t, at), d, s
}

func TestReceiveTimeIsTheKernelsTimestamp(t *testing.T) {
	c, d, _ := startRecording(t, nil, func(c *Config) { c.Timestamps = true })
	for range 10 {
		before := time.Now()
		ask(t, c, "hi")
		after := time.Now()
		r := <-d.requests
		received, now := r[0], r[1]
		if received.Before(before.Round(0)) || now.Before(received) || now.After(after) {
			t.Errorf("asked at %v, received at %v, answered at %v, got at %v", before, received, now, after)
		}
		if _, err := socket.Drops(0); !errors.Is(err, unix.ENOTSUP) && received.Equal(now) {
			t.Error("the receive time is not the kernel's")
		}
	}
}

// fakeClock is a loop's clock that the test advances.
type fakeClock struct{ atomic.Int64 }

func (c *fakeClock) now() time.Duration { return time.Duration(c.Load()) }

func TestOneKissIsSentInAnInterval(t *testing.T) {
	var clock fakeClock
	c, d, s := startRecording(t, clock.now, func(c *Config) {
		c.Guard = guard.New(guard.Config{IsAnswer: answer.IsAnswer, Sources: guard.NewSources(guard.Limits{PerSecond: 1, Burst: 1, LongestRun: 1000})})
	})
	b := make([]byte, 64)
	requests := uint64(0)
	for interval := range uint64(3) {
		// The rate limit grants the source one answer. Of the requests over the limit,
		// one gets a kiss, and the limiter lets some more pass.
		const n = 50
		for range n {
			if _, err := c.Write([]byte("more")); err != nil {
				t.Fatal(err)
			}
		}
		requests += n
		eventually(t, "not all requests were received", func() bool { return s.config.Counters.Stats().Requests == requests })
		st := s.config.Counters.Stats()
		answers, kisses := st.Answers[answer.DateTime], st.Answers[answer.KissForm]
		if kisses != interval+1 || answers < interval+1 || answers+kisses+st.Drops[guard.RateLimit] != requests || st.Drops[guard.RateLimit] == 0 {
			t.Fatalf("interval %d: %+v", interval, st)
		}
		clock.Add(int64(kissInterval))
	}
	st := s.config.Counters.Stats()
	got := make(map[string]uint64)
	for range st.Answers[answer.DateTime] + st.Answers[answer.KissForm] {
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got[string(b[:n])]++
	}
	if got["answer"] != st.Answers[answer.DateTime] || got["less"] != st.Answers[answer.KissForm] {
		t.Errorf("received %v; counters: %+v", got, st)
	}
	if got := <-d.kisses; got != "more" {
		t.Errorf("AppendKiss got request %q, want %q", got, "more")
	}
}

// TestReplyLoopEndsWithinItsBound: a service answers every
// datagram, also nowd's answers, after up to 10 s. A datagram with its spoofed source has
// started a reply loop.
func TestReplyLoopEndsWithinItsBound(t *testing.T) {
	const longest = 50
	for name, takes := range map[string]time.Duration{"at once": 0, "after 10 s": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			var clock fakeClock
			c, d, s := startRecording(t, clock.now, func(c *Config) {
				c.Guard = guard.New(guard.Config{IsAnswer: answer.IsAnswer, Sources: guard.NewSources(guard.Limits{LongestRun: longest})})
			})
			answered := 0
			service := func() {
				for b := make([]byte, 64); answered <= longest; answered++ {
					if _, err := c.Read(b); err != nil {
						return // the test is over
					}
					clock.Add(int64(takes))
					if _, err := c.Write([]byte("ERR what?")); err != nil {
						return
					}
				}
			}
			if _, err := c.Write([]byte("injected")); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				service()
			}()
			eventually(t, "the reply loop did not end", func() bool { return s.config.Counters.Stats().Drops[guard.ReplyLoop] == 1 })
			_ = c.SetDeadline(time.Now())
			<-done
			if st := s.config.Counters.Stats(); answered < longest/2 || answered > longest || st.Requests != uint64(answered)+1 {
				t.Errorf("%d answers to one datagram, want %d to %d: %+v", answered, longest/2, longest, st)
			}
			// A client asks again.
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if got := ask(t, c, "hi"); got != "answer" {
				t.Errorf("answer after the reply loop: %q, want %q", got, "answer")
			}
			if len(d.requests) != answered+1 {
				t.Errorf("%d requests reached the dialect, want %d", len(d.requests), answered+1)
			}
		})
	}
}

func TestSocketThatFailsForGoodIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		errs   []error
		failed bool
	}{
		"bad descriptor":            {[]error{unix.EBADF}, true},
		"spurious events":           {slices.Repeat([]error{unix.EAGAIN}, 10*maxReceiveErrors), false},
		"some errors":               {slices.Repeat([]error{unix.ENETDOWN}, maxReceiveErrors-1), false},
		"too many errors":           {slices.Repeat([]error{unix.ENETDOWN}, maxReceiveErrors), true},
		"temporary lack of buffers": {slices.Repeat([]error{unix.ENOBUFS}, maxReceiveErrors-1), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := server(t, 3333)
			fd, _ := openSocket(t, "127.0.0.1:0")
			s.fd = fd
			defer s.Close()
			if err := s.loop.Add(s.fd, reactor.PollIn, s); err != nil {
				t.Fatal(err)
			}
			failed := false
			s.onFailure = func(error) { failed = true }
			for _, err := range c.errs {
				s.receiveFailed(err)
			}
			if failed != c.failed || (s.fd < 0) != c.failed {
				t.Errorf("failed: %v, want %v; descriptor %d", failed, c.failed, s.fd)
			}
		})
	}
}
