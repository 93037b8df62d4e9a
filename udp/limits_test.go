package udp

import (
	"errors"
	"net"
	"net/netip"
	"slices"
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
	eventually(t, "the datagram did not arrive, or was not dropped", func() bool { return s.Counters.Stats().Drops[guard.DestAddr] == 1 })
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
			held, release := make(chan struct{}), make(chan struct{})
			s.loop.Post(func() { close(held); <-release })
			<-held
			for range c.sent {
				if _, err := client.Write(make([]byte, c.size)); err != nil {
					t.Fatal(err)
				}
			}
			close(release)
			eventually(t, "not all are accounted for", func() bool {
				st := s.Counters.Stats()
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
	gone := make(chan error, 10)
	made := server(t, 3333)
	s, err := Serve(made.loop, fds[0], made.Config, func(why error) { gone <- why })
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	if err := unix.Shutdown(fds[0], unix.SHUT_RDWR); err != nil && !errors.Is(err, unix.ENOTCONN) {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Fatalf("it is kept; %d turns of the loop", s.loop.Stats().Turns)
	}
}

// mistrusting is a dialect whose clock is never good enough.
type mistrusting struct{}

func (mistrusting) AppendDatagram(b, _ []byte, _ int, _, _ time.Time) ([]byte, answer.Form) {
	return b, answer.Untrusted
}

func TestClockThatIsNotTrustedIsNoFaultOfTheRequest(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	s.loop.Post(func() { s.Dialect = mistrusting{} })
	if _, err := dial(t, at).Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the drop is not counted", func() bool {
		d := s.Counters.Stats().Drops
		return d[guard.Untrusted] == 1 && d[guard.Invalid] == 0
	})
}

// told is a dialect that says how it was called.
type told struct {
	requests chan [2]time.Time // arrived, now
	kisses   chan string
}

func (d told) AppendDatagram(b, req []byte, size int, arrived, now time.Time) ([]byte, answer.Form) {
	d.requests <- [2]time.Time{arrived, now}
	return append(b, "answer"...), answer.DateTime
}

func (d told) AppendKiss(b, req []byte, size int) ([]byte, answer.Form) {
	d.kisses <- string(req)
	return append(b, "less"...), answer.Help
}

// startTold serves with a dialect that tells.
func startTold(t *testing.T, change func(*Config)) (net.Conn, told, *Server) {
	t.Helper()
	fds, err := socket.Open(socket.UDP, netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	at, err := socket.Addr(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	d := told{make(chan [2]time.Time, 100), make(chan string, 100)}
	made := server(t, at.Port())
	made.Dialect = d
	change(&made.Config)
	s, err := Serve(made.loop, fds[0], made.Config, made.gone)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	return dial(t, at), d, s
}

func TestArrivalIsWhenTheKernelHadTheDatagram(t *testing.T) {
	c, d, _ := startTold(t, func(c *Config) { c.Arrival = true })
	for range 10 {
		before := time.Now()
		ask(t, c, "hi")
		after := time.Now()
		r := <-d.requests
		arrived, now := r[0], r[1]
		if arrived.Before(before.Round(0)) || now.Before(arrived) || now.After(after) {
			t.Errorf("asked at %v, arrived at %v, answered at %v, got at %v", before, arrived, now, after)
		}
		if _, err := socket.Drops(0); !errors.Is(err, unix.ENOTSUP) && arrived.Equal(now) {
			t.Error("the kernel did not tell")
		}
	}
}

func TestOneInAWhileIsToldToAskLess(t *testing.T) {
	c, d, s := startTold(t, func(c *Config) {
		c.Guard = guard.New(guard.Config{IsAnswer: answer.Own, Limiter: guard.NewLimiter(1, 1)})
	})
	if got := ask(t, c, "first"); got != "answer" {
		t.Fatalf("%q", got)
	}
	// Of the next ones some are answered, and one is told.
	began := time.Now()
	for range 50 {
		if _, err := c.Write([]byte("more")); err != nil {
			t.Fatal(err)
		}
	}
	answers, kisses := 0, 0
	b := make([]byte, 64)
	eventually(t, "not all are seen", func() bool { return s.Counters.Stats().Requests == 51 })
	st := s.Counters.Stats()
	for range st.Answers[answer.DateTime] + st.Answers[answer.Help] - 1 { // the first is read
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		switch string(b[:n]) {
		case "answer":
			answers++
		case "less":
			kisses++
		}
	}
	if most := 1 + int(time.Since(began)/kissEvery); kisses < 1 || kisses > most || answers == 50 {
		t.Fatalf("%d kisses, at most %d wanted, and %d answers", kisses, most, answers)
	}
	if got := <-d.kisses; got != "more" {
		t.Errorf("for %q", got)
	}
}

func TestSocketThatFailsForGoodIsGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		errs []error
		gone bool
	}{
		"broken":           {[]error{unix.EBADF}, true},
		"nothing to do":    {slices.Repeat([]error{unix.EAGAIN}, 10*tolerance), false},
		"now and then":     {slices.Repeat([]error{unix.ENETDOWN}, tolerance-1), false},
		"again and again":  {slices.Repeat([]error{unix.ENETDOWN}, tolerance), true},
		"short for a time": {slices.Repeat([]error{unix.ENOBUFS}, tolerance-1), false},
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
			gone := false
			s.gone = func(error) { gone = true }
			for _, err := range c.errs {
				s.failed(err)
			}
			if gone != c.gone || (s.fd < 0) != c.gone {
				t.Errorf("gone is %v, the descriptor %d", gone, s.fd)
			}
		})
	}
}
