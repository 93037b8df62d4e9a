package tcp

import (
	"io"
	"strings"
	"testing"
	"time"

	"nowd/answer"
	"nowd/clock"
	"nowd/socket"
)

func TestLineCutInTwoIsOneRequest(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	c.send("hi\nun")
	c.line()
	s.await(t, partialLine, 1)
	c.send("ix\n")
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
	s.advance(2 * partialLineTimeout)
	s.wantAnswers(t, 2)
}

func TestPartialLineIsARequestAfterItsTimeout(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	c.send("hi\nunix")
	c.line()
	s.await(t, partialLine, 1)
	s.advance(partialLineTimeout - 1)
	s.wantAnswers(t, 1) // the partial line is not answered yet
	s.advance(1)
	s.wantAnswers(t, 2)
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
	c.nothingElse()
}

func TestPartialLineIsNotCutBecauseTheLoopIsLate(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	c.send("hi\nun")
	c.line()
	s.await(t, partialLine, 1)
	s.held(func() {
		c.send("ix\n")
		s.lists[partialLine].head.awaitUnread(t, len("ix\n"))
		s.clock.move(2 * partialLineTimeout)
	})
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
	s.advance(2 * partialLineTimeout)
	s.wantAnswers(t, 2)
}

func TestIdleClientIsClosed(t *testing.T) {
	s := start(t, func(c *Config) { c.IdleTimeout = 200 * time.Millisecond })
	const slack = 25 * time.Millisecond // an eighth of IdleTimeout: see idleSlack
	quiet, busy := s.dial(t), s.dial(t)
	for _, c := range []client{quiet, busy} {
		c.send("hi\n")
		c.line()
	}
	s.await(t, idle, 2)
	s.advance(200 * time.Millisecond)
	busy.send("hi\n")
	busy.line()
	s.advance(slack - 1)
	if n := s.count(idle); n != 2 {
		t.Fatalf("%d connections are idle, want 2", n)
	}
	s.advance(1)
	quiet.end()
	if n := s.count(idle); n != 1 {
		t.Errorf("%d connections are idle, want 1", n)
	}
	eventually(t, "the close was not counted", func() bool { return s.config.Counters.Stats().Idle == 1 })
	busy.nothingElse()
}

// TestTimeoutsAreNotOfTheWallClock: each reading of the wall clock is in a different year.
func TestTimeoutsAreNotOfTheWallClock(t *testing.T) {
	year := 0
	wild := clock.New(clock.Config{Now: func() time.Time {
		year = (year + 3571) % 9999
		return time.Date(1+year, 1, 1, 0, 0, 0, 0, time.UTC)
	}})
	const timeout = 200 * time.Millisecond
	s := start(t, func(c *Config) {
		c.Clock, c.Text = wild, answer.NewText(wild, time.UTC, answer.DateTime, true)
		c.IdleTimeout, c.WriteTimeout = timeout, timeout
	})
	silent, half, asked := s.dial(t), s.dial(t), s.dial(t)
	half.send("GET / HTTP/1.1\r\n")
	asked.send("hi\n")
	asked.line()
	s.await(t, asking, 1)
	s.await(t, partialHead, 1)
	s.await(t, idle, 1)
	s.advance(timeout - 1)
	if a, p, i := s.count(asking), s.count(partialHead), s.count(idle); a+p+i != 3 {
		t.Errorf("%d, %d and %d connections wait, want 1 each", a, p, i)
	}
	s.advance(1)
	silent.end()
	if got := half.line(); !strings.HasPrefix(got, "HTTP/1.1 408") {
		t.Errorf("%q", got)
	}
	s.advance(timeout / 8) // idleSlack
	asked.end()
}

func TestIdleClientIsAnsweredIfTheLoopIsLate(t *testing.T) {
	s := start(t, func(c *Config) { c.IdleTimeout = 300 * time.Millisecond })
	c := s.dial(t)
	c.send("hi\n")
	c.line()
	s.await(t, idle, 1)
	s.held(func() {
		c.send("unix\n")
		s.lists[idle].head.awaitUnread(t, len("unix\n"))
		s.clock.move(time.Second)
	})
	if got := c.line(); !isUnix(got) {
		t.Errorf("%q", got)
	}
	c.nothingElse()
	s.wantAnswers(t, 3)
}

// requestMuch sends requests until their answers fill the socket.
func requestMuch(t *testing.T, s service) client {
	c := s.dial(t)
	go func() {
		for {
			if _, err := io.WriteString(c.TCPConn, strings.Repeat("json\n", 1000)); err != nil {
				return
			}
		}
	}()
	s.await(t, writing, 1)
	return c
}

// awaitStalled advances the clock by write timeouts until the client counts as stalled. The
// kernel may still accept answers for a while.
func awaitStalled(t *testing.T, s service) {
	eventually(t, "the connection was not closed", func() bool {
		s.advance(s.config.WriteTimeout)
		st := s.config.Counters.Stats()
		return st.Stalled == 1 && st.Open == 0
	})
}

func TestClientThatDoesNotReadIsClosed(t *testing.T) {
	s := start(t, nil)
	requestMuch(t, s)
	awaitStalled(t, s)
}

func TestClientThatReadsSlowlyIsNotClosed(t *testing.T) {
	s := start(t, nil)
	c := requestMuch(t, s)
	b := make([]byte, 32<<10)
	for round := range 10 {
		// The client reads until its kernel acknowledges some bytes. Then the connection
		// times out before the server handles another event of it.
		eventually(t, "no bytes were acknowledged", func() (ok bool) {
			if _, err := io.ReadFull(c.TCPConn, b); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			s.do(func() {
				k := s.lists[writing].head
				if ok = k != nil && int32(socket.Unsent(int(k.fd))) < k.unacked; ok {
					k.timeOut()
				}
			})
			return ok
		})
		if st := s.config.Counters.Stats(); st.Stalled != 0 || st.Open != 1 {
			t.Fatalf("round %d: %+v", round, st)
		}
	}
	awaitStalled(t, s)
}

func TestLingeringIsBounded(t *testing.T) {
	s := start(t, nil)
	c := s.dial(t)
	c.send("GET / HTTP/1.1\r\n\r\n")
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	s.await(t, lingering, 1) // the client does not close its side
	eventually(t, "the end of file was not acknowledged", func() (ok bool) {
		s.do(func() { ok = socket.Unsent(int(s.lists[lingering].head.fd)) == 0 })
		return ok
	})
	s.advance(lingeringTimeout - 1)
	if n := s.count(lingering); n != 1 {
		t.Error("closed before lingeringTimeout")
	}
	s.advance(1)
	if n := s.count(lingering); n != 0 {
		t.Error("still open after lingeringTimeout")
	}
}
