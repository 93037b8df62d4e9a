package udp

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/clock"
	"nowd/guard"
	"nowd/reactor"
	"nowd/socket"
)

// start starts a text server at addr on its own loop, and returns its address.
func start(t testing.TB, addr string) (netip.AddrPort, *Server) {
	t.Helper()
	fd, at := openSocket(t, addr)
	return at, serve(t, fd, at.Port())
}

// openSocket opens a socket for a server, and returns it with its address.
func openSocket(t testing.TB, addr string) (int, netip.AddrPort) {
	t.Helper()
	fds, err := socket.Open(socket.UDP, netip.MustParseAddrPort(addr), 1)
	if err != nil {
		t.Fatal(err)
	}
	at, err := socket.Addr(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], at
}

func serve(t testing.TB, fd int, port uint16) *Server {
	t.Helper()
	made := server(t, port)
	s, err := Serve(made.loop, fd, made.config, func(why error) { t.Errorf("the socket failed: %v", why) })
	if err != nil {
		t.Fatal(err)
	}
	run(t, s.loop)
	return s
}

// server returns a server without a socket.
func server(t testing.TB, port uint16) *Server { return serverWithClock(t, port, nil) }

// serverWithClock returns a server without a socket, whose loop uses the clock now.
func serverWithClock(t testing.TB, port uint16, now func() time.Duration) *Server {
	l, err := reactor.New(reactor.Config{Clock: now})
	if err != nil {
		t.Fatal(err)
	}
	c := clock.New(clock.Config{})
	return newServer(l, -1, Config{
		Clock:    c,
		Dialect:  answer.NewText(c, time.UTC, answer.DateTime, true),
		Guard:    guard.New(guard.Config{Ports: []uint16{port}, IsAnswer: answer.IsAnswer}),
		Counters: NewCounters(l),
	}, func(why error) { t.Errorf("the socket failed: %v", why) })
}

// run runs a loop until the test ends.
func run(t testing.TB, l *reactor.Loop) {
	var running sync.WaitGroup
	running.Go(func() {
		if err := l.Run(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		l.Stop()
		running.Wait()
		_ = l.Close()
	})
}

func dial(t testing.TB, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return c
}

func ask(t testing.TB, c net.Conn, req string) string {
	t.Helper()
	if _, err := c.Write([]byte(req)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	n, err := c.Read(b)
	if err != nil {
		t.Fatalf("%q: %v", req, err)
	}
	return string(b[:n])
}

func isTime(s string) bool {
	_, err := time.Parse("2006-01-02 15:04:05.000000\n", s)
	return err == nil
}

// eventually waits until cond holds, and fails with what after 10 s.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

// TestEachAnswerHasItsOwnReadingOfTheClock: the clock advances by a second with each
// reading. The datagrams arrive before the first is answered, so they are one batch.
func TestEachAnswerHasItsOwnReadingOfTheClock(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	client := dial(t, at)
	release := hold(s)
	began, readings := time.Unix(1e9, 0), 0
	s.loop.Post(func() {
		s.config.Clock = clock.New(clock.Config{Now: func() time.Time {
			readings++
			return began.Add(time.Duration(readings) * time.Second)
		}})
	})
	for range receiveBatch {
		if _, err := client.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
	}
	release()
	var last string
	for i := range receiveBatch {
		b := make([]byte, 64)
		n, err := client.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(b[:n]); got <= last {
			t.Errorf("answer %d is %q, after %q", i, got, last)
		} else {
			last = got
		}
	}
}

func TestEachDatagramGetsOneAnswer(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	c := dial(t, at)
	for _, req := range []string{"", "\n", "hi\n", "hello sock", "datetime", strings.Repeat("x", 1472), strings.Repeat("x", 1473), strings.Repeat("x", 60000)} {
		if got := ask(t, c, req); !isTime(got) {
			t.Errorf("%d bytes: %q", len(req), got)
		}
	}
	if got := ask(t, c, "unix"); len(got) != 11 {
		t.Errorf("unix: %q", got)
	}
	if got := ask(t, c, "json"+strings.Repeat(" ", 400)); got[0] != '{' {
		t.Errorf("json, padded: %q", got)
	}
	if got := ask(t, c, "json"+strings.Repeat(" ", 4000)); !isTime(got) {
		t.Errorf("json in a truncated datagram: %q", got)
	}
	eventually(t, "the counters do not add up", func() bool {
		st := s.config.Counters.Stats()
		return st.Requests == 11 && st.Answers[answer.DateTime] == 9 && st.Answers[answer.Unix] == 1 && st.Answers[answer.JSON] == 1
	})
}

func TestReplyLeavesFromAddressAsked(t *testing.T) {
	for _, c := range []struct{ listen, ask string }{
		{"0.0.0.0:0", "127.0.0.1"}, {"0.0.0.0:0", "127.0.0.2"}, {"0.0.0.0:0", "127.7.7.7"}, {"127.0.0.3:0", "127.0.0.3"}, {"[::]:0", "::1"}, {"[::1]:0", "::1"},
	} {
		if strings.HasPrefix(c.listen, "[") && !haveIPv6() {
			t.Logf("%s: no IPv6 here", c.listen)
			continue
		}
		at, _ := start(t, c.listen)
		// A connected socket receives from the address asked only.
		if got := ask(t, dial(t, netip.AddrPortFrom(netip.MustParseAddr(c.ask), at.Port())), "hi"); !isTime(got) {
			t.Errorf("%v: %q", c, got)
		}
	}
}

func haveIPv6() bool {
	c, err := net.ListenPacket("udp6", "[::1]:0")
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}

func TestLinkLocalClientIsAnswered(t *testing.T) {
	ifis, _ := net.Interfaces()
	for _, ifi := range ifis {
		addrs, _ := ifi.Addrs()
		for _, a := range addrs {
			ip, ok := a.(*net.IPNet)
			if !ok || ip.IP.To4() != nil || !ip.IP.IsLinkLocalUnicast() {
				continue
			}
			at, _ := start(t, "[::]:0")
			addr, _ := netip.AddrFromSlice(ip.IP)
			if got := ask(t, dial(t, netip.AddrPortFrom(addr.WithZone(ifi.Name), at.Port())), "hi"); !isTime(got) {
				t.Errorf("%v: %q", addr, got)
			}
			return
		}
	}
	t.Skip("no interface has a link-local address")
}

func TestOwnAnswersAreDroppedAndCounted(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	c := dial(t, at)
	ownAnswer := ask(t, c, "hi")
	for range 5 {
		if _, err := c.Write([]byte(ownAnswer)); err != nil {
			t.Fatal(err)
		}
	}
	// From the server's own port, at another address of the host.
	own, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: int(at.Port())}, net.UDPAddrFromAddrPort(at))
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if _, err := own.Write([]byte("hi")); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, c, "unix"); len(got) != 11 {
		t.Errorf("answer to the next request: %q, want unix", got)
	}
	eventually(t, "drops were not counted", func() bool {
		d := s.config.Counters.Stats().Drops
		return d[guard.OwnAnswer] == 5 && d[guard.OwnPort] == 1
	})
}

func TestDatagramFromPortZeroIsDropped(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP)
	if err != nil {
		t.Skipf("a raw socket needs CAP_NET_RAW: %v", err)
	}
	defer unix.Close(raw)
	port := at.Port()
	datagram := []byte{0, 0, byte(port >> 8), byte(port), 0, 10, 0, 0, 'h', 'i'}
	for range 20 {
		if err := unix.Sendto(raw, datagram, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask(t, dial(t, at), "hi"); !isTime(got) {
		t.Errorf("%q", got)
	}
	eventually(t, "drops were not counted", func() bool { return s.config.Counters.Stats().Drops[guard.SourcePort] == 20 })
}

// TestRefusedReplyDoesNotAffectOthers: the guard here passes source port 0, to which the
// kernel refuses to send.
func TestRefusedReplyDoesNotAffectOthers(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_UDP)
	if err != nil {
		t.Skipf("a raw socket needs CAP_NET_RAW: %v", err)
	}
	defer unix.Close(raw)
	s.loop.Post(func() { s.config.Guard = guard.New(guard.Config{Clients: []uint16{0}, IsAnswer: answer.IsAnswer}) })
	// The loop is blocked meanwhile, so that all datagrams are in one batch.
	release := hold(s)
	port := at.Port()
	c := dial(t, at)
	for i := range 9 {
		if i%3 == 1 {
			datagram := []byte{0, 0, byte(port >> 8), byte(port), 0, 10, 0, 0, 'h', 'i'}
			if err := unix.Sendto(raw, datagram, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				t.Fatal(err)
			}
		} else if _, err := c.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
	}
	release()
	b := make([]byte, 64)
	for i := range 6 {
		if n, err := c.Read(b); err != nil || !isTime(string(b[:n])) {
			t.Fatalf("answer %d: %q, %v", i, b[:n], err)
		}
	}
	eventually(t, "send errors were not counted", func() bool { return s.config.Counters.Stats().SendErrors == 3 })
}

func TestManyDatagramsAreAllAnswered(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	const clients, each = 8, 2000
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			c := dial(t, at)
			for range each {
				if got := ask(t, c, "hi"); !isTime(got) {
					t.Errorf("%q", got)
				}
			}
		})
	}
	wg.Wait()
	eventually(t, "requests and answers do not add up", func() bool {
		st := s.config.Counters.Stats()
		return st.Requests == clients*each && st.Answers[answer.DateTime] == clients*each
	})
}

func TestCloseAnswersWhatHasArrived(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	c := dial(t, at)
	release, closed := hold(s), make(chan struct{})
	s.loop.Post(func() { s.Close(); close(closed) })
	for range 100 {
		if _, err := c.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
	}
	release()
	b := make([]byte, 64)
	for i := range 100 {
		if n, err := c.Read(b); err != nil || !isTime(string(b[:n])) {
			t.Fatalf("answer %d: %q, %v", i, b[:n], err)
		}
	}
	<-closed
	if _, err := c.Write([]byte("hi")); err == nil {
		_, err = c.Read(b)
		if err == nil {
			t.Error("answered after Close")
		}
	}
}

// hold blocks the loop of s until release is called. Meanwhile datagrams queue up.
func hold(s *Server) (release func()) {
	held, c := make(chan struct{}), make(chan struct{})
	s.loop.Post(func() { close(held); <-c })
	<-held
	return func() { close(c) }
}

// TestCloseCountsWhatItReceives: more datagrams have arrived than Close may receive. Each
// one that it receives is answered or counted as a drop.
func TestCloseCountsWhatItReceives(t *testing.T) {
	at, s := start(t, "127.0.0.1:0")
	const batches, more = 2, 10
	c := dial(t, at)
	release := hold(s)
	closed := make(chan struct{})
	s.loop.Post(func() { s.close(batches); close(closed) })
	for range batches*receiveBatch + more {
		if _, err := c.Write([]byte("hi")); err != nil {
			t.Fatal(err)
		}
	}
	release()
	<-closed
	var st Stats
	eventually(t, "requests and answers do not add up", func() bool {
		st = s.config.Counters.Stats() // the loop may be publishing it
		return st.Requests > 0 && st.Answers[answer.DateTime] == st.Requests
	})
	// The loop itself may have received a batch before it closed the socket.
	if n := st.Requests; n%receiveBatch != 0 || n < batches*receiveBatch {
		t.Errorf("%d datagrams were received, want a multiple of %d, at least %d", n, receiveBatch, batches*receiveBatch)
	}
	b := make([]byte, 64)
	for i := range st.Requests {
		if n, err := c.Read(b); err != nil || !isTime(string(b[:n])) {
			t.Fatalf("answer %d: %q, %v", i, b[:n], err)
		}
	}
}

func TestRequestAllocatesNothing(t *testing.T) {
	if batchAllocates {
		t.Skip("this system's calls, one per datagram, allocate")
	}
	at, _ := start(t, "0.0.0.0:0")
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	if err := unix.Connect(c, &unix.SockaddrInet4{Port: int(at.Port()), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	req, b := []byte("unixns"), make([]byte, 64)
	if n := testing.AllocsPerRun(2000, func() {
		if _, err := unix.Write(c, req); err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Read(c, b); err != nil || n != 20 || !bytes.HasSuffix(b[:n], []byte("\n")) {
			t.Fatalf("%q, %v", b[:n], err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}
