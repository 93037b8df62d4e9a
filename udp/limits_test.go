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

// Many hosts would answer at once, to one address, which need not be that of
// who asked.
func TestDatagramToManyIsNotAnswered(t *testing.T) {
	at, s := start(t, "0.0.0.0:0")
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	lo, group := [4]byte{127, 0, 0, 1}, [4]byte{239, 255, 77, 77}
	// A socket that has all addresses gets what any on the host has joined.
	if err := unix.SetsockoptIPMreq(c, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreq{Multiaddr: group, Interface: lo}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptInet4Addr(c, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, lo); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendto(c, []byte("hi"), 0, &unix.SockaddrInet4{Port: int(at.Port()), Addr: group}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the datagram did not arrive, or was not dropped", func() bool { return s.config.Counters.Stats().Drops[guard.DestAddr] == 1 })
	if got := ask(t, dial(t, netip.AddrPortFrom(netip.AddrFrom4(lo), at.Port())), "hi"); !isTime(got) {
		t.Errorf("to one: %q", got)
	}
}

func TestOverflowOfTheReceiveBufferIsCounted(t *testing.T) {
	for name, c := range map[string]struct{ size, sent int }{
		"many short": {2, 5000}, // a buffer has room for less than half of these
		"few long":   {60000, 300},
	} {
		t.Run(name, func(t *testing.T) {
			if c.size > MaxRequest && !lengthsTold {
				t.Skip("how long a datagram is that does not fit is not told here")
			}
			at, s := start(t, "127.0.0.1:0")
			if _, err := socket.Drops(s.fd); err != nil {
				t.Skipf("this system does not tell: %v", err)
			}
			client := dial(t, at)
			release := hold(s)
			for range c.sent {
				if _, err := client.Write(make([]byte, c.size)); err != nil {
					t.Fatal(err)
				}
			}
			release()
			eventually(t, "not all are accounted for", func() bool {
				st := s.config.Counters.Stats()
				return st.Overflows > 0 && st.Requests+st.Overflows == uint64(c.sent)
			})
		})
	}
}

// A socket that is shut down says so for ever.
func TestSocketThatIsShutDownIsGivenUp(t *testing.T) {
	fds, err := socket.Open(socket.UDP, netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 10)
	made := server(t, 3333)
	s, err := Serve(made.loop, fds[0], made.config, func(why error) { failed <- why })
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	if err := unix.Shutdown(fds[0], unix.SHUT_RDWR); err != nil && !errors.Is(err, unix.ENOTCONN) {
		t.Fatal(err)
	}
	select {
	case <-failed:
	case <-time.After(5 * time.Second):
		t.Fatalf("it is kept; %d turns of the loop", s.loop.Stats().Turns)
	}
}

// mistrusting is a dialect whose clock is never good enough.
type mistrusting struct{}

func (mistrusting) AppendDatagram(b, _ []byte, _ int, _, _ time.Time) ([]byte, answer.Outcome) {
	return b, answer.Untrusted
}

func TestClockThatIsNotTrustedIsNoFaultOfTheRequest(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	s.loop.Post(func() { s.config.Dialect = mistrusting{} })
	if _, err := dial(t, at).Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drop is not counted", func() bool {
		st := s.config.Counters.Stats()
		return st.Untrusted == 1 && st.NoRequest == 0
	})
}

// told is a dialect that says how it was called.
type told struct {
	requests chan [2]time.Time // received, now
	kisses   chan string
}

func (d told) AppendDatagram(b, req []byte, size int, received, now time.Time) ([]byte, answer.Outcome) {
	d.requests <- [2]time.Time{received, now}
	return append(b, "answer"...), answer.Answered(answer.DateTime)
}

func (d told) AppendKiss(b, req []byte, size int) ([]byte, answer.Outcome) {
	d.kisses <- string(req)
	return append(b, "less"...), answer.Answered(answer.KissForm)
}

// startTold serves with a dialect that tells.
func startTold(t *testing.T, clock func() time.Duration, change func(*Config)) (net.Conn, told, *Server) {
	t.Helper()
	fds, err := socket.Open(socket.UDP, netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	at, err := socket.Addr(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	d := told{make(chan [2]time.Time, 1000), make(chan string, 1000)}
	made := serverWithClock(t, at.Port(), clock)
	made.config.Dialect = d
	change(&made.config)
	s, err := Serve(made.loop, fds[0], made.config, made.onFailure)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	return dial(t, at), d, s
}

func TestTimestampIsOfTheKernelsReceipt(t *testing.T) {
	c, d, _ := startTold(t, nil, func(c *Config) { c.Timestamps = true })
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
			t.Error("the kernel did not tell")
		}
	}
}

// fakeClock is a loop's clock, which a test moves.
type fakeClock struct{ atomic.Int64 }

func (c *fakeClock) now() time.Duration { return time.Duration(c.Load()) }

func TestOneKissIsSentInAnInterval(t *testing.T) {
	var clock fakeClock
	c, d, s := startTold(t, clock.now, func(c *Config) {
		c.Guard = guard.New(guard.Config{IsAnswer: answer.IsAnswer, Sources: guard.NewSources(guard.Limits{PerSecond: 1, Burst: 1, LongestRun: 1000})})
	})
	b := make([]byte, 64)
	requests := uint64(0)
	for interval := range uint64(3) {
		// The source has one answer to its credit. Of the requests over the limit
		// one gets a kiss, and the limiter has some answered.
		const n = 50
		for range n {
			if _, err := c.Write([]byte("more")); err != nil {
				t.Fatal(err)
			}
		}
		requests += n
		eventually(t, "not all are received", func() bool { return s.config.Counters.Stats().Requests == requests })
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
		t.Errorf("%v, counted are %+v", got, st)
	}
	if got := <-d.kisses; got != "more" {
		t.Errorf("for %q", got)
	}
}

// A service that answers everything answers nowd's answers, however long that takes it,
// up to 10 s. One datagram in its name has set the two talking.
func TestServiceThatAnswersAnswersIsAnsweredSoOftenAndNoMore(t *testing.T) {
	const longest = 50
	for name, takes := range map[string]time.Duration{"at once": 0, "after 10 s": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			var clock fakeClock
			c, d, s := startTold(t, clock.now, func(c *Config) {
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
			talking := make(chan struct{})
			go func() {
				defer close(talking)
				service()
			}()
			eventually(t, "they talk on", func() bool { return s.config.Counters.Stats().Drops[guard.ReplyLoop] == 1 })
			_ = c.SetDeadline(time.Now())
			<-talking
			if st := s.config.Counters.Stats(); answered < longest/2 || answered > longest || st.Requests != uint64(answered)+1 {
				t.Errorf("%d answers to one datagram, want %d to %d: %+v", answered, longest/2, longest, st)
			}
			// A client asks again.
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if got := ask(t, c, "hi"); got != "answer" {
				t.Errorf("afterwards: %q", got)
			}
			if len(d.requests) != answered+1 {
				t.Errorf("%d requests have reached the dialect, want %d", len(d.requests), answered+1)
			}
		})
	}
}

func TestSocketThatFailsForGoodIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		errs   []error
		failed bool
	}{
		"broken":           {[]error{unix.EBADF}, true},
		"nothing to do":    {slices.Repeat([]error{unix.EAGAIN}, 10*maxReceiveErrors), false},
		"now and then":     {slices.Repeat([]error{unix.ENETDOWN}, maxReceiveErrors-1), false},
		"again and again":  {slices.Repeat([]error{unix.ENETDOWN}, maxReceiveErrors), true},
		"short for a time": {slices.Repeat([]error{unix.ENOBUFS}, maxReceiveErrors-1), false},
	} {
		t.Run(name, func(t *testing.T) {
			s := server(t, 3333)
			fds, err := socket.Open(socket.UDP, netip.MustParseAddrPort("127.0.0.1:0"), 1)
			if err != nil {
				t.Fatal(err)
			}
			s.fd = fds[0]
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
				t.Errorf("failed is %v, the descriptor %d", failed, s.fd)
			}
		})
	}
}
