package health

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/clock"
	"nowd/reactor"
)

// served serves handler at loopback until the test ends. wrap, if not nil, wraps the
// listener.
func served(t *testing.T, handler http.Handler, wrap func(net.Listener) net.Listener) (s *Server, addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	if wrap != nil {
		l = wrap(l)
	}
	s = NewServer(handler, slog.New(slog.DiscardHandler))
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	t.Cleanup(func() {
		_ = s.Close()
		serving.Wait()
	})
	return s, addr
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask gets a path on a new connection. It returns the status and how long it took.
func ask(addr, path string) (status int, took time.Duration, err error) {
	start := time.Now()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + addr + path)
	if err != nil {
		return 0, time.Since(start), err
	}
	_, err = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return r.StatusCode, time.Since(start), err
}

var greet = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })

// failing is a listener whose first calls of Accept fail.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) > 0 {
		err := f.errs[0]
		f.errs = f.errs[1:]
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
	}
	return f.Listener.Accept()
}

func TestErrorsOfAcceptDoNotEndTheServer(t *testing.T) {
	for _, errno := range []unix.Errno{
		unix.ENOBUFS, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.EPERM, unix.ECONNABORTED, unix.EPROTO,
		unix.ENETDOWN, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.EAGAIN, unix.EINTR, unix.ETIMEDOUT,
	} {
		t.Run(unix.ErrnoName(errno), func(t *testing.T) {
			_, addr := served(t, greet, func(l net.Listener) net.Listener { return &failing{l, []error{errno, errno}} })
			if status, _, err := ask(addr, "/"); status != 200 {
				t.Errorf("after the errors the answer is %d, %v", status, err)
			}
		})
	}
}

// The caller of Serve then has to reopen the socket.
func TestListenerThatIsOfNoUseEndsServe(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EINVAL, unix.EBADF, unix.ENOTSOCK} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := NewServer(greet, slog.New(slog.DiscardHandler))
		if err := s.Serve(&failing{l, []error{errno}}); !errors.Is(err, errno) {
			t.Errorf("Serve returned %v, want %v", err, errno)
		}
	}
}

// TestAnswersThatNobodyReadsAreCounted: connections of clients that half-close and do not
// read count as open until they are evicted. Otherwise the kernel would keep the answers of
// any number of them.
func TestAnswersThatNobodyReadsAreCounted(t *testing.T) {
	const more = 4
	long := bytes.Repeat([]byte("x"), 40<<10)
	s, addr := served(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(long) }), nil)
	var clients []net.Conn
	for range MaxConns + more {
		d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
			return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 2048) })
		}}
		c, err := d.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: nowd\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil { // the answer has begun
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	if n := s.conns.count(); n > MaxConns {
		t.Errorf("%d connections, want %d at most", n, MaxConns)
	}
	var resets atomic.Int32
	var reading sync.WaitGroup
	for _, c := range clients {
		reading.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.Copy(io.Discard, c); errors.Is(err, unix.ECONNRESET) {
				resets.Add(1)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	reading.Wait()
	if n := resets.Load(); n != more {
		t.Errorf("%d connections are reset, want %d", n, more)
	}
}

// count returns the number of open connections.
func (cs *conns) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.open
}

func TestConnectionsAreLimited(t *testing.T) {
	s, addr := served(t, greet, nil)
	for range 3 * MaxConns {
		dial(t, addr)
	}
	if status, _, err := ask(addr, "/"); status != 200 { // the last connection
		t.Errorf("the answer is %d, %v", status, err)
	}
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	if s.conns.open > MaxConns {
		t.Errorf("%d connections", s.conns.open)
	}
}

// TestLongestIdleConnectionGoes: the server evicts the connection that has been idle the
// longest. It keeps one whose request is being answered, and one that was just answered.
func TestLongestIdleConnectionGoes(t *testing.T) {
	release, entered := make(chan struct{}), make(chan struct{}, 1)
	_, addr := served(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			entered <- struct{}{}
			<-release
		}
		greet(w, r)
	}), nil)
	slow := dial(t, addr)
	_, _ = io.WriteString(slow, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	silent := dial(t, addr)
	kept := dial(t, addr)
	request := func(c net.Conn) error {
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		return err
	}
	for range MaxConns - 3 {
		if err := request(dial(t, addr)); err != nil { // so that they are accepted in this order
			t.Fatal(err)
		}
	}
	if err := request(kept); err != nil {
		t.Fatal(err)
	}
	for range MaxConns - 3 {
		if err := request(dial(t, addr)); err != nil {
			t.Fatal(err)
		}
	}
	_ = silent.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the silent connection: %v, want that it is closed", err)
	}
	if err := request(kept); err != nil {
		t.Errorf("the connection that was just answered: %v", err)
	}
	close(release)
	_ = slow.SetDeadline(time.Now().Add(10 * time.Second))
	if r, err := http.ReadResponse(bufio.NewReader(slow), nil); err != nil || r.StatusCode != 200 {
		t.Errorf("the connection whose request was being answered: %v", err)
	}
}

func TestScrapesShareTheirAnswerForASecond(t *testing.T) {
	h := Handler(NewLoops(time.Second, []*reactor.Loop{running(t)}), nil, metrics(t), slog.New(slog.DiscardHandler))
	_, addr := served(t, h, nil)
	fetch := func(accept, encoding string) []byte {
		r, _ := http.NewRequest("GET", "http://"+addr+"/metrics", nil)
		r.Header.Set("Accept", accept)
		r.Header.Set("Accept-Encoding", encoding)
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
			return nil
		}
		defer got.Body.Close()
		if e := got.Header.Get("Content-Encoding"); e != "" {
			t.Errorf("Content-Encoding is %s", e)
		}
		if c := got.Header.Get("Content-Type"); !strings.HasPrefix(c, "text/plain; version=0.0.4") {
			t.Errorf("Content-Type is %s", c)
		}
		b, err := io.ReadAll(got.Body)
		if err != nil {
			t.Error(err)
		}
		return b
	}
	start := time.Now()
	first := fetch("", "gzip")
	var scrapes sync.WaitGroup
	var others atomic.Int32
	for i := range 8 {
		scrapes.Go(func() {
			accept := []string{"", "application/openmetrics-text", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"}[i%3]
			if !bytes.Equal(fetch(accept, "gzip, zstd"), first) {
				others.Add(1)
			}
		})
	}
	scrapes.Wait()
	if n := others.Load(); n > 0 && time.Since(start) < scrapeAge {
		t.Errorf("%d scrapes within a second have another answer", n)
	}
	eventually(t, "the answer is never rendered again", func() bool { return !bytes.Equal(fetch("", ""), first) })
	if took := time.Since(start); took < scrapeAge {
		t.Errorf("rendered again after %v", took)
	}
}

func TestChangeOfAProbeIsLoggedOnceWithItsReason(t *testing.T) {
	var log bytes.Buffer
	var clockState, bound error = nil, errors.New("address already in use")
	h := Handler(NewLoops(time.Second, []*reactor.Loop{running(t)}), []Check{
		{"udp 0.0.0.0:3333", func() error { return bound }},
		{"clock", func() error { return clockState }},
	}, NewMetrics(clock.New(clock.Config{}), "test", droppedLines(0)), slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	})))
	expect := func(lines ...string) {
		t.Helper()
		for _, method := range []string{"GET", "HEAD", "POST"} {
			get(t, h, method, "/ready")
			get(t, h, method, "/live")
		}
		want := ""
		for _, l := range lines {
			want += l + "\n"
		}
		if got := log.String(); got != want {
			t.Errorf("logged:\n%swant:\n%s", got, want)
		}
		log.Reset()
	}
	expect(`level=WARN msg="/ready fails" reason="udp 0.0.0.0:3333: address already in use"`)
	bound, clockState = nil, errors.New("the clock is not synchronised")
	expect(`level=WARN msg="/ready fails" reason="clock: the clock is not synchronised"`) // another check fails
	clockState = errors.New("the error bound of the clock is 2s; want at most 1s")
	expect()
	clockState = nil
	expect(`level=INFO msg="/ready passes"`)
	bound = errors.New("shut down from outside")
	expect(`level=WARN msg="/ready fails" reason="udp 0.0.0.0:3333: shut down from outside"`)
	bound = errors.New("and later for another reason")
	expect()
	bound = nil
	expect(`level=INFO msg="/ready passes"`)
}

// TestClientsWhoHoldConnectionsDoNotKeepProbesOut: attackers hold connections in different
// ways, and reconnect when they are evicted. A single failed probe is allowed, as the
// kubelet does: an attacker may connect just when the probe is the idlest connection.
func TestClientsWhoHoldConnectionsDoNotKeepProbesOut(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than 10 s")
	}
	clients := 2000
	if raceEnabled { // the attackers run in this process, which the race detector slows down
		clients = 200
	}
	for _, attack := range []struct {
		name string
		do   func(c net.Conn, stop <-chan struct{})
	}{
		{"silent", func(c net.Conn, stop <-chan struct{}) { _, _ = c.Read(make([]byte, 1)) }},
		{"dripping", func(c net.Conn, stop <-chan struct{}) {
			for i := 0; ; i++ {
				if _, err := io.WriteString(c, "GET /live HTTP/1.1\r\nX: "[i%10:][:1]); err != nil {
					return
				}
				select {
				case <-stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
		}},
		{"pipelined metrics, unread", func(c net.Conn, stop <-chan struct{}) {
			many := []byte(strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 500))
			for {
				if _, err := c.Write(many); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			h := Handler(NewLoops(time.Second, []*reactor.Loop{running(t)}), nil, metrics(t), slog.New(slog.DiscardHandler))
			s, addr := served(t, h, nil)
			stopped, stop := context.WithCancel(context.Background())
			var attacking sync.WaitGroup
			var opened atomic.Int64
			for range clients {
				attacking.Go(func() {
					for {
						pause := 100 * time.Millisecond // before another try if the accept queue is full
						c, err := net.DialTimeout("tcp", addr, time.Second)
						if err == nil {
							opened.Add(1)
							pause = 10 * time.Second
							ended := context.AfterFunc(stopped, func() { _ = c.Close() })
							attack.do(c, stopped.Done())
							_ = c.Close()
							ended()
						}
						select {
						case <-stopped.Done():
							return
						case <-time.After(pause):
						}
					}
				})
			}
			defer attacking.Wait()
			defer stop()
			eventually(t, "the attack does not begin", func() bool { return opened.Load() >= int64(clients/2) })
			var longest time.Duration
			failed, inARow := 0, 0
			for range 40 {
				status, took, err := ask(addr, "/live")
				longest = max(longest, took)
				if inARow++; status == 200 && took < time.Second {
					inARow = 0
				} else if failed++; inARow > 1 {
					t.Errorf("/live is %d after %v, %v", status, took, err)
				}
				time.Sleep(150 * time.Millisecond)
			}
			s.conns.mu.Lock()
			open := s.conns.open
			s.conns.mu.Unlock()
			if open > MaxConns {
				t.Errorf("%d connections", open)
			}
			t.Logf("%d connections; /live took at most %v, and failed %d of 40 times", opened.Load(), longest, failed)
		})
	}
}

// TestTooLargeAHeadIsRefusedAtOnce: net/http would keep the connection of a refused header
// open for half a second, without a limit on their number.
func TestTooLargeAHeadIsRefusedAtOnce(t *testing.T) {
	h := Handler(NewLoops(time.Second, []*reactor.Loop{running(t)}), nil, metrics(t), slog.New(slog.DiscardHandler))
	s, addr := served(t, h, nil)
	for _, length := range []int{maxHead - 100, maxHead + 1, 64 << 10} {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		head := "GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX: "
		_, _ = io.WriteString(c, head+strings.Repeat("x", max(0, length-len(head)-4))+"\r\n\r\n")
		got, _ := io.ReadAll(c) // a reset may follow the answer
		want := "HTTP/1.1 431 "
		if length <= maxHead {
			want = "HTTP/1.1 200 "
		}
		if !strings.HasPrefix(string(got), want) && (length <= maxHead || len(got) > 0) {
			t.Errorf("a head of %d bytes gets %.40q, want %q", length, got, want)
		}
	}
	eventually(t, "a connection stays open", func() bool {
		s.conns.mu.Lock()
		defer s.conns.mu.Unlock()
		return s.conns.open == 0
	})
}
