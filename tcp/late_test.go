package tcp

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// held runs f while the loop does nothing, as on a host that is busy.
func (s service) held(f func()) {
	held, release := make(chan struct{}), make(chan struct{})
	s.loop.Post(func() { close(held); <-release })
	<-held
	f()
	close(release)
}

func TestLineIsNotCutBecauseTheLoopIsLate(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	c.send("hi\nun")
	c.line()
	s.held(func() {
		c.send("ix\n")
		time.Sleep(2 * restTimeout)
	})
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
	c.quiet(2 * restTimeout)
}

func TestIdleClientThatHasAskedIsAnsweredHoweverLateTheLoopIs(t *testing.T) {
	s := start(t, func(c *Config) { c.IdleTimeout = 300 * time.Millisecond })
	c := s.dial(t)
	c.send("hi\n")
	c.line()
	s.held(func() {
		c.send("unix\n")
		time.Sleep(600 * time.Millisecond)
	})
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
}

func TestClientsThatHaveAskedAreAnsweredBeforeTheyMakeRoom(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxConns = 4 })
	var cs []client
	s.held(func() {
		for range 40 {
			c := s.dial(t)
			c.send("unix\n")
			cs = append(cs, c)
		}
	})
	for i, c := range cs {
		if got := c.line(); !isUnix(got) {
			t.Errorf("client %d: %q", i, got)
		}
	}
}

func TestShutdownAnswersHoweverMuchHasArrived(t *testing.T) {
	s := start(t, nil)
	const n = 20000
	c := s.dial(t)
	c.send("hi\n")
	c.line()
	stopped := make(chan struct{})
	s.held(func() {
		c.send(strings.Repeat("unix\n", n))
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

// TestShutdownWaitsForRoom: clients that wait to be accepted, and for whose
// answers there is no room at once, get all of them.
func TestShutdownWaitsForRoom(t *testing.T) {
	s := start(t, func(c *Config) { c.MaxConns = 20 })
	s.do(func() {
		for fd := range s.listeners {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4096); err != nil {
				t.Error(err)
			}
		}
	})
	const clients, each = 20, 1000
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
				t.Errorf("%d answers, %v", n, err)
			}
			_ = c.Close()
		})
	}
	reading.Wait()
	<-stopped
}

func TestClientThatReadsSlowlyIsNotTakenForOneThatDoesNot(t *testing.T) {
	s := start(t, func(c *Config) { c.WriteTimeout = 200 * time.Millisecond })
	c := s.dial(t)
	go func() { _, _ = io.WriteString(c.TCPConn, strings.Repeat("json\n", 60000)) }()
	eventually(t, "its answers never filled the socket", func() bool {
		n := 0
		s.do(func() { n = s.lists[writing].len })
		return n == 1
	})
	b := make([]byte, 32<<10)
	for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if _, err := io.ReadFull(c.TCPConn, b); err != nil {
			t.Fatal(err)
		}
	}
	if st := s.Counters.Stats(); st.Stalled != 0 || st.Open != 1 {
		t.Errorf("%+v", st)
	}
}

// Its second read ends in the midst of the line behind.
func TestLineBehindALongOneIsNotCutWhereAReadEnds(t *testing.T) {
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
	c.quiet(2 * restTimeout)
}
