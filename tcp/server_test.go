package tcp

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
)

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
		st := s.config.Counters.Stats()
		return st.Answers[answer.DateTime] == 4 && st.Answers[answer.JSON] == 1 && st.Open == 1 && st.Accepted == 1
	})
}

// TestBurstWithoutNewlineIsARequest: a client sends bytes without a newline, waits for the
// answer, and repeats.
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

func TestLineFramingTakesWholeLinesOnly(t *testing.T) {
	s := start(t, func(c *Config) { c.Framing = Line })
	c := s.dial(t)
	c.send("un")
	eventually(t, "the server did not read", func() (read bool) {
		s.do(func() { c := s.lists[asking].head; read = c != nil && string(c.unparsed) == "un" })
		return read
	})
	s.advance(time.Second)
	s.wantAnswers(t, 0)
	c.send("ix\nun")
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	c.end() // a partial line is not a request
	c = s.dial(t)
	c.send("un")
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := c.line(); !isTime(got) { // without any request, a client gets one answer
		t.Errorf("%q", got)
	}
	c.end()
}

func TestHalfClosingClientGetsAllAnswers(t *testing.T) {
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
	s.awaitClosed(t)
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
	c.send("\nunix\n")
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
	s.wantAnswers(t, 2*8+2)
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
	c.nothingElse()
	s.wantAnswers(t, n+1)
}

// TestClientThatDoesNotReadHoldsBackItsOwnRequestsOnly: while its send buffer is full, the
// server reads nothing from this client. It loses and truncates no answer.
func TestClientThatDoesNotReadHoldsBackItsOwnRequestsOnly(t *testing.T) {
	// With Framing Line, since the client may block in the middle of a line.
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
	// The client blocks when the queues of both sides are full.
	eventually(t, "the send buffer never filled", func() bool {
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
		if c := s.lists[writing].head; c != nil && (cap(c.unparsed) > 4*readSize || cap(c.unsent) > answer.MaxHTTP) {
			t.Errorf("the connection holds %d bytes of input and %d of output", cap(c.unparsed), cap(c.unsent))
		}
	})
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
	c.nothingElse()
	eventually(t, "the answers were not counted", func() bool {
		var sum uint64
		for _, k := range s.config.Counters.Stats().Answers {
			sum += k
		}
		return sum == n+2
	})
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

// unparsed returns the total length of partial lines and heads of all connections.
func (s service) unparsed() (n int) {
	s.do(func() {
		for _, st := range waitingForInput {
			for c := s.lists[st].head; c != nil; c = c.next {
				n += len(c.unparsed)
			}
		}
	})
	return n
}

func TestHTTPHeads(t *testing.T) {
	s := start(t, nil)
	for _, c := range []struct {
		name, want string
		parts      []string
		half       bool
	}{
		{"byte by byte", "HTTP/1.1 200", strings.Split("GET /unix HTTP/1.1\r\nHost: x\r\n\r\n", ""), false},
		{"maximum length", "HTTP/1.1 200", []string{"GET / HTTP/1.1\r\nX: ", strings.Repeat("x", answer.MaxHead-23), "\r\n\r\n"}, false},
		{"too long", "HTTP/1.1 431", []string{"GET / HTTP/1.1\r\nX: ", strings.Repeat("x", answer.MaxHead-22), "\r\n\r\n"}, false},
		{"never ends", "HTTP/1.1 431", []string{"GET /" + strings.Repeat("x", 3*answer.MaxHead)}, false},
		{"half-closed in the head", "HTTP/1.1 400", []string{"GET / HTTP/1.1\r\nHost:"}, true},
		{"stalls", "HTTP/1.1 408", []string{"GET / HTTP/1.1\r\nHost:"}, false},
		{"after a line", "1", []string{"unix\nGET /unix HTTP/1.1\r\n\r\n"}, false},
	} {
		k := s.dial(t)
		sent := 0
		for i, part := range c.parts {
			if i > 0 {
				// Wait, so that the server reads each part separately.
				eventually(t, "the server did not read", func() bool { return s.count(lingering) > 0 || s.unparsed() == sent })
			}
			if _, err := io.WriteString(k.TCPConn, part); err != nil {
				break // the server has already answered
			}
			sent += len(part)
		}
		if c.half {
			_ = k.CloseWrite()
		} else if strings.HasPrefix(c.want, "HTTP/1.1 408") {
			s.await(t, partialHead, 1)
			s.advance(s.config.WriteTimeout - 1)
			s.await(t, partialHead, 1)
			s.advance(1)
		}
		b, err := io.ReadAll(k)
		if err != nil || !strings.HasPrefix(string(b), c.want) {
			t.Errorf("%s: %.100q, %v", c.name, b, err)
		}
		_ = k.Close()
		eventually(t, "the connection was not closed", func() bool { return s.count(lingering) == 0 })
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

// TestLineAfterALongLineIsNotCut: a read ends within the line that follows the long one.
func TestLineAfterALongLineIsNotCut(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	const n = 2
	c.send(strings.Repeat("x", 2*readSize-6) + "\n" + strings.Repeat("unixms\n", n))
	if got := c.line(); !isTime(got) {
		t.Errorf("%q", got)
	}
	for i := range n {
		if got := c.line(); len(got) != 14 {
			t.Fatalf("answer %d: %q", i, got)
		}
	}
	c.nothingElse()
	s.wantAnswers(t, n+2)
}
