package tcp

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/clock"
	"nowd/reactor"
	"nowd/socket"
)

// service is a server on a loop of its own.
type service struct {
	*Server
	at netip.AddrPort
}

func start(t testing.TB, change func(*Config)) service {
	t.Helper()
	fds, err := socket.Open(socket.TCP, netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	at, err := socket.Addr(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	l, err := reactor.New(reactor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Clock:        clock.New(),
		Text:         answer.NewText(clock.New(), time.UTC, answer.DateTime, true),
		MaxConns:     1000,
		IdleTimeout:  time.Minute,
		WriteTimeout: 10 * time.Second,
		NoDelay:      true,
		Logger:       slog.New(slog.DiscardHandler),
		Counters:     NewCounters(l, answer.TextForms()...),
	}
	if change != nil {
		change(&c)
	}
	s := NewServer(l, c)
	if err := s.Listen(fds[0], func(why error) { t.Errorf("the listener is gone: %v", why) }); err != nil {
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
		if n := s.conns(); n != 0 {
			t.Errorf("%d connections are left after Close", n)
		}
	})
	return service{s, at}
}

// do runs f on the loop and waits for its end.
func (s service) do(f func()) {
	done := make(chan struct{})
	s.loop.Post(func() { f(); close(done) })
	<-done
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
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
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

func (c client) end() {
	c.t.Helper()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		c.t.Fatalf("%q, %v; want the end", b, err)
	}
}

func (c client) quiet(d time.Duration) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	if b, err := c.Peek(1); err == nil {
		c.t.Fatalf("%q, want nothing", b)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
}

func isTime(s string) bool {
	_, err := time.Parse("2006-01-02 15:04:05.000000\n", s)
	return err == nil
}

func isUnix(s string) bool { return len(s) == 11 && strings.Trim(s, "0123456789") == "\n" }

// eventually waits until what a loop has published is as wanted.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func TestEachLineGetsOneAnswerInOrder(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	for range 3 {
		c.send("hi\n")
		if got := c.line(); !isTime(got) {
			t.Errorf("%q", got)
		}
	}
	c.send("unix\r\n\nUNIXMS\njson\nbound\n")
	for i, want := range []int{11, 27, 14} {
		if got := c.line(); len(got) != want {
			t.Errorf("answer %d: %q", i, got)
		}
	}
	if got := c.line(); got[0] != '{' {
		t.Errorf("json: %q", got)
	}
	if got := c.line(); !strings.HasSuffix(got, "synced\n") {
		t.Errorf("bound: %q", got)
	}
	eventually(t, "the counters do not add up", func() bool {
		st := s.Counters.Stats()
		return st.Answers[answer.DateTime] == 4 && st.Answers[answer.JSON] == 1 && st.Open == 1 && st.Accepted == 1
	})
}

// TestBurstWithoutNewlineIsARequest is the client of the original servers: it
// sends some words, waits for the answer, and does so again.
func TestBurstWithoutNewlineIsARequest(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	for range 3 {
		c.send("hello sock")
		if got := c.line(); !isTime(got) {
			t.Errorf("%q", got)
		}
	}
	c.send("unix")
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
}

func TestLineCutInTwoIsOneRequest(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	c.send("hi\nun")
	c.line()
	time.Sleep(5 * time.Millisecond) // so that the network cuts it; longer than restTimeout must not be relied on
	c.send("ix\n")
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
	c.quiet(100 * time.Millisecond)
}

func TestRestAfterALineIsARequestAfterAWhile(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	start := time.Now()
	c.send("hi\nunix")
	c.line()
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
	if took := time.Since(start); took < restTimeout {
		t.Errorf("answered after %v: it may have been half a line", took)
	}
	c.send("unixms\n")
	if got := c.line(); len(got) != 14 {
		t.Errorf("%q", got)
	}
}

func TestLineFramingTakesWholeLinesOnly(t *testing.T) {
	s := start(t, func(c *Config) { c.Framing = Line })
	c := s.dial(t)
	c.send("un")
	c.quiet(150 * time.Millisecond)
	c.send("ix\nun")
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.end() // half a line is no request
	c = s.dial(t)
	c.send("un")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.line(); !isTime(got) { // it has asked nothing, so it gets the time
		t.Errorf("%q", got)
	}
	c.end()
}

func TestHalfClosingClientGetsWhatItIsOwed(t *testing.T) {
	s := start(t, nil)
	for req, want := range map[string]int{"": 1, "\n": 1, "hi": 1, "hi\n": 1, "a\nb": 2, "a\nb\n": 2, strings.Repeat("x\n", 1000): 1000, "GE": 1} {
		c := s.dial(t)
		c.send(req)
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if got := c.line(); !isTime(got) {
				t.Errorf("%.10q: answer %d is %q", req, i, got)
			}
		}
		c.end()
	}
	eventually(t, "connections are left open", func() bool { return s.Counters.Stats().Open == 0 })
}

func TestLongLineIsAnsweredOnce(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	for _, n := range []int{maxLine - 1, maxLine, maxLine + 1, readSize - 1, readSize, readSize + 1, 3 * readSize, 100000} {
		c.send(strings.Repeat("x", n) + "\nunix\n")
		if got := c.line(); !isTime(got) {
			t.Errorf("%d bytes: %q", n, got)
		}
		if got := c.line(); !isUnix(got) {
			t.Errorf("after %d bytes: %q", n, got)
		}
	}
	c.send(strings.Repeat("x", maxLine+1))
	if got := c.line(); !isTime(got) {
		t.Errorf("%q", got)
	}
	c.send(strings.Repeat("x", 5000))
	c.quiet(100 * time.Millisecond)
	c.send("\nunix\n")
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
}

func TestPipelinedRequestsAreAnsweredTogether(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	const n = 5000
	go c.send(strings.Repeat("unix\n", n))
	for i := range n {
		if got := c.line(); !isUnix(got) {
			t.Fatalf("answer %d: %q", i, got)
		}
	}
	c.quiet(80 * time.Millisecond)
}

// TestClientThatDoesNotReadHoldsBackItsOwnRequestsOnly: answers that the kernel
// does not take wait, nothing is read meanwhile, and none is lost or cut.
func TestClientThatDoesNotReadHoldsBackItsOwnRequestsOnly(t *testing.T) {
	// Whole lines, so that it makes no difference when the client is held up in one.
	s := start(t, func(c *Config) { c.Framing = Line })
	c := s.dial(t)
	const n = 400000
	forms := []string{"unix\n", "datetime\n", "json\n", strings.Repeat("x", 1500) + "\n", "rfc3339\n", "\n"}
	sent := make(chan error)
	go func() {
		w := bufio.NewWriter(c.TCPConn)
		for i := range n {
			if _, err := w.WriteString(forms[i%len(forms)]); err != nil {
				sent <- err
				return
			}
		}
		sent <- w.Flush()
	}()
	// It blocks when the queues of both sides are full.
	eventually(t, "the server read on", func() bool {
		var waits bool
		s.do(func() { waits = s.lists[writing].len == 1 })
		return waits
	})
	other := s.dial(t)
	other.send("unix\n")
	if got := other.line(); !isUnix(got) {
		t.Errorf("another client: %q", got)
	}
	s.do(func() {
		if c := s.lists[writing].head; c != nil && (cap(c.rest) > 4*readSize || cap(c.cut) > answer.MaxHTTP) {
			t.Errorf("it holds %d and %d bytes", cap(c.rest), cap(c.cut))
		}
	})
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	for i := range n {
		got := c.line()
		switch i % len(forms) {
		case 0:
			if !isUnix(got) {
				t.Fatalf("answer %d: %q", i, got)
			}
		case 2:
			if !strings.HasPrefix(got, "{") || !strings.HasSuffix(got, "}\n") {
				t.Fatalf("answer %d: %q", i, got)
			}
		case 4:
			if !strings.HasSuffix(got, "Z\n") {
				t.Fatalf("answer %d: %q", i, got)
			}
		default:
			if !isTime(got) {
				t.Fatalf("answer %d: %q", i, got)
			}
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	c.quiet(80 * time.Millisecond)
	eventually(t, "answers are not counted right", func() bool {
		var sum uint64
		for _, k := range s.Counters.Stats().Answers {
			sum += k
		}
		return sum == n+1
	})
}

func TestClientThatDoesNotReadIsClosed(t *testing.T) {
	s := start(t, func(c *Config) { c.WriteTimeout = 200 * time.Millisecond })
	c := s.dial(t)
	go func() {
		for {
			if _, err := io.WriteString(c.TCPConn, strings.Repeat("json\n", 1000)); err != nil {
				return
			}
		}
	}()
	eventually(t, "it was not closed", func() bool { st := s.Counters.Stats(); return st.Stalled == 1 && st.Open == 0 })
}

func TestIdleClientIsClosed(t *testing.T) {
	s := start(t, func(c *Config) { c.IdleTimeout = 200 * time.Millisecond })
	quiet, busy := s.dial(t), s.dial(t)
	start := time.Now()
	done := make(chan time.Duration)
	go func() {
		quiet.end()
		done <- time.Since(start)
	}()
	for {
		select {
		case took := <-done:
			if took < 200*time.Millisecond {
				t.Errorf("closed after %v", took)
			}
			eventually(t, "it is not counted", func() bool { return s.Counters.Stats().Idle == 1 })
			return
		case <-time.After(20 * time.Millisecond):
			busy.send("hi\n")
			busy.line()
		}
	}
}

func TestLongestIdleConnectionMakesRoom(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxConns = 3; c.IdleTimeout = 8 * time.Millisecond * 1000 })
	var cs []client
	for range 3 {
		c := s.dial(t)
		c.send("hi\n")
		c.line()
		cs = append(cs, c)
	}
	s.do(func() { s.slack = 0 })
	for i := range 3 {
		cs[0].send("hi\n")
		cs[0].line()
		c := s.dial(t)
		c.send("hi\n")
		if got := c.line(); !isTime(got) {
			t.Errorf("%q", got)
		}
		cs[1].end()
		cs = append(cs[:1], append(cs[2:], c)...)
		eventually(t, "evictions are not counted right", func() bool { return s.Counters.Stats().Evicted == uint64(i+1) })
	}
}

// TestLastAnswerIsNotLostToAReset: the client still sends when the server
// closes, and reads only then.
func TestLastAnswerIsNotLostToAReset(t *testing.T) {
	s := start(t, nil)
	for range 50 {
		c := s.dial(t)
		c.send("GET /unix HTTP/1.1\r\n\r\n")
		for range 20 {
			c.send(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 50))
		}
		b, err := io.ReadAll(c)
		if err != nil || !bytes.HasPrefix(b, []byte("HTTP/1.1 200 OK\r\n")) || bytes.Count(b, []byte("HTTP/1.1")) != 1 {
			t.Fatalf("%q, %v", b, err)
		}
		_ = c.Close()
	}
	eventually(t, "connections linger on", func() bool { return s.Counters.Stats().Open == 0 })
}

func TestLingeringIsBounded(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\n\r\n")
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	start := time.Now() // it does not close its side
	eventually(t, "it lingers on", func() bool { return s.Counters.Stats().Open == 0 })
	if took := time.Since(start); took > 3*lingerTimeout {
		t.Errorf("closed after %v", took)
	}
}

func TestHTTP(t *testing.T) {
	s := start(t, nil)
	for path, want := range map[string]int{"/": 200, "/unix": 200, "/json?x": 200, "/nothing": 404} {
		for _, method := range []string{"GET", "HEAD"} {
			req, err := http.NewRequest(method, "http://"+s.at.String()+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			body, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if err != nil || r.StatusCode != want || (method == "HEAD") != (len(body) == 0) {
				t.Errorf("%s %s: %v, %q, %v", method, path, r.Status, body, err)
			}
		}
	}
}

func TestHTTPHeads(t *testing.T) {
	s := start(t, func(c *Config) { c.WriteTimeout = 300 * time.Millisecond })
	for _, c := range []struct {
		name, want string
		parts      []string
		half       bool
	}{
		{"byte by byte", "HTTP/1.1 200", strings.Split("GET /unix HTTP/1.1\r\nHost: x\r\n\r\n", ""), false},
		{"as long as can be", "HTTP/1.1 200", []string{"GET / HTTP/1.1\r\nX: ", strings.Repeat("x", answer.MaxHead-23), "\r\n\r\n"}, false},
		{"too long", "HTTP/1.1 431", []string{"GET / HTTP/1.1\r\nX: ", strings.Repeat("x", answer.MaxHead-22), "\r\n\r\n"}, false},
		{"never ends", "HTTP/1.1 431", []string{"GET /" + strings.Repeat("x", 3*answer.MaxHead)}, false},
		{"half-closed in its midst", "HTTP/1.1 400", []string{"GET / HTTP/1.1\r\nHost:"}, true},
		{"stalls", "HTTP/1.1 408", []string{"GET / HTTP/1.1\r\nHost:"}, false},
		{"after a line", "1", []string{"unix\nGET /unix HTTP/1.1\r\n\r\n"}, false},
	} {
		k := s.dial(t)
		for i, part := range c.parts {
			if i > 0 {
				time.Sleep(time.Millisecond)
			}
			if _, err := io.WriteString(k.TCPConn, part); err != nil {
				break // it was answered before all was sent
			}
		}
		if c.half {
			_ = k.CloseWrite()
		}
		b, err := io.ReadAll(k)
		if err != nil || !strings.HasPrefix(string(b), c.want) {
			t.Errorf("%s: %.100q, %v", c.name, b, err)
		}
	}
}

func TestResetsAndAbortsCostNothing(t *testing.T) {
	s := start(t, nil)
	for i := range 300 {
		c := s.dial(t)
		if i%3 > 0 {
			c.send("hi\nhi")
		}
		if i%3 > 1 {
			c.line()
		}
		if err := c.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	eventually(t, "connections are left open", func() bool { st := s.Counters.Stats(); return st.Open == 0 && st.Accepted == 300 })
}

func TestShutdownAnswersWhatHasArrived(t *testing.T) {
	s := start(t, nil)
	var cs []client
	for range 20 {
		c := s.dial(t)
		c.send("hi\n")
		c.line()
		cs = append(cs, c)
	}
	held, release, stopped := make(chan struct{}), make(chan struct{}), make(chan struct{})
	s.loop.Post(func() {
		close(held)
		<-release
		s.Shutdown(func() { close(stopped) })
	})
	<-held
	for i, c := range cs {
		c.send([]string{"", "unix", "unix\n", "unix\nunix"}[i%4])
	}
	var late []client // not even accepted yet
	for range 20 {
		c := s.dial(t)
		c.send("unix\n")
		late = append(late, c)
	}
	close(release)
	for i, c := range append(cs, late...) {
		want := 1
		if i < len(cs) {
			want = []int{0, 1, 1, 2}[i%4]
		}
		for range want {
			if got := c.line(); !isUnix(got) {
				t.Errorf("client %d: %q", i, got)
			}
		}
		c.end()
		_ = c.Close()
	}
	<-stopped
	if _, err := net.Dial("tcp", s.at.String()); err == nil {
		t.Error("still listening")
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
	eventually(t, "the limit was not felt", func() bool { return s.Counters.Stats().AcceptErrors > 0 })
	turns := s.loop.Stats().Turns
	before.send("hi\n")
	before.line()
	time.Sleep(350 * time.Millisecond) // the time that is looked at
	if n := s.loop.Stats().Turns - turns; n > 20 {
		t.Errorf("%d turns of the loop: it spins", n)
	}
	giveBack()
	if _, err := unix.Write(late, []byte("unix\n")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	if n, err := unix.Read(late, b); err != nil || !isUnix(string(b[:n])) {
		t.Errorf("%q, %v", b[:max(n, 0)], err)
	}
}

func TestRequestAllocatesNothing(t *testing.T) {
	s := start(t, nil)
	c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c)
	if err := unix.Connect(c, &unix.SockaddrInet4{Port: int(s.at.Port()), Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	for req, want := range map[string]int{"hi\n": 27, "unixns\n": 20, "unix\nunix\nunix\n": 33} {
		r, b := []byte(req), make([]byte, 128)
		if n := testing.AllocsPerRun(2000, func() {
			if _, err := unix.Write(c, r); err != nil {
				t.Fatal(err)
			}
			if n, err := unix.Read(c, b); err != nil || n != want {
				t.Fatalf("%q, %v", b[:max(n, 0)], err)
			}
		}); n != 0 {
			t.Errorf("%q: %v allocations a request", req, n)
		}
	}
}
