package tcp

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

func TestShutdownAnswersPipelinedRequests(t *testing.T) {
	s := start(t, nil)
	const n = 400 // as many as fit into a window
	c := s.dial(t)
	c.send("hi\n")
	c.line()
	stopped := make(chan struct{})
	s.held(func() {
		c.send(strings.Repeat("unix\n", n))
		s.lists[idle].head.awaitUnread(t, 5*n)
		s.loop.Post(func() { s.Shutdown(func() { close(stopped) }) })
	})
	for i := range n {
		if got := c.line(); !isUnix(got) {
			t.Fatalf("answer %d: %q", i, got)
		}
	}
	c.end()
	_ = c.Close()
	<-stopped
}

// TestShutdownWaitsForFullSendBuffers: clients in the accept queue, whose answers do not
// fit into the send buffers, get all their answers.
func TestShutdownWaitsForFullSendBuffers(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxConns = 20 })
	s.do(func() {
		for fd := range s.listeners {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
				t.Error(err)
			}
		}
	})
	const clients, each = 20, 300
	var cs []client
	stopped := make(chan struct{})
	s.held(func() {
		for range clients {
			c := s.dial(t)
			if err := c.SetReadBuffer(4096); err != nil {
				t.Fatal(err)
			}
			c.send(strings.Repeat("json\n", each))
			cs = append(cs, c)
		}
		s.loop.Post(func() { s.Shutdown(func() { close(stopped) }) })
	})
	var reading sync.WaitGroup
	for _, c := range cs {
		reading.Go(func() {
			b, err := io.ReadAll(c)
			if n := bytes.Count(b, []byte("}\n")); n != each || err != nil {
				t.Errorf("%d answers, want %d; error %v", n, each, err)
			}
			_ = c.Close()
		})
	}
	reading.Wait()
	<-stopped
}

// TestLastAnswerIsNotLostToAReset: the client sends more after the request to which the
// server answers and closes, and reads only then.
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
	s.awaitClosed(t)
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
	var late []client // in the accept queue
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
		t.Error("the listener is still open")
	}
}

func TestResetsLeaveNoConnectionOpen(t *testing.T) {
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
	eventually(t, "connections are still open", func() bool { st := s.config.Counters.Stats(); return st.Open == 0 && st.Accepted == 300 })
}

// TestShutdownWaitsForClientThatReadsLate: the client takes several times lingeringTimeout
// to read its answers, and sends more meanwhile.
func TestShutdownWaitsForClientThatReadsLate(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	if err := c.SetReadBuffer(2048); err != nil {
		t.Fatal(err)
	}
	c.send("json\n")
	c.line()
	const n = 60 // the answers fit into both sockets together, but not into the client's alone
	stopped := make(chan struct{})
	s.held(func() {
		c.send(strings.Repeat("json\n", n))
		s.lists[idle].head.awaitUnread(t, 5*n)
		s.loop.Post(func() { s.Shutdown(func() { close(stopped) }) })
	})
	got := 0
	for range 5 {
		s.advance(lingeringTimeout)
		_, _ = io.WriteString(c.TCPConn, "hi\n") // the server discards it and must not reset
		c.line()
		got++
	}
	b, err := io.ReadAll(c)
	if got += bytes.Count(b, []byte("}\n")); got != n || err != nil {
		t.Errorf("%d answers and %v, want %d and end of file", got, err, n)
	}
	_ = c.Close()
	<-stopped
}

// TestShutdownOwesWhatHadArrived: a client that never stops asking does not delay
// Shutdown.
func TestShutdownOwesWhatHadArrived(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	c.send("unix\n")
	c.line()
	stopped := make(chan struct{})
	// In one function, so that the connection handles no event in between.
	s.do(func() {
		c.send("unix\nunix\n")
		k := s.lists[idle].head
		k.awaitUnread(t, 10)
		s.draining = true
		k.owed = int32(socket.Unread(int(k.fd)))
		c.send("unix\n") // after the beginning of Shutdown
		k.awaitUnread(t, 15)
		k.drain()
		s.Shutdown(func() { close(stopped) })
	})
	c.line()
	c.line()
	c.end()
	_ = c.Close()
	<-stopped
	s.wantAnswers(t, 3)
}

// TestShutdownEndsLongLivedConnections: clients get the end of file, not a reset.
func TestShutdownEndsLongLivedConnections(t *testing.T) {
	s := start(t, nil)
	var cs []client
	for range 20 {
		c := s.dial(t)
		c.send("hi\n")
		c.line()
		cs = append(cs, c)
	}
	stopped := make(chan struct{})
	s.do(func() { s.Shutdown(func() { close(stopped) }) })
	for _, c := range cs {
		_, _ = io.WriteString(c.TCPConn, "hi\n")
		c.end()
		_ = c.Close()
	}
	<-stopped
}
