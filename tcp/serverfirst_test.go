package tcp

import (
	"io"
	"testing"
	"time"

	"nowd/answer"
)

// hello is a server-first protocol.
type hello struct{}

func (hello) Append(b []byte, now time.Time) ([]byte, answer.Outcome) {
	return append(b, "hello\r\n"...), answer.Answered(answer.DaytimeForm)
}

// silent is a server-first protocol whose clock is not trusted.
type silent struct{}

func (silent) Append(b []byte, now time.Time) ([]byte, answer.Outcome) { return b, answer.Untrusted }

func TestServerFirstAnswersAtOnceAndCloses(t *testing.T) {
	s := start(t, func(c *Config) { c.ServerFirst = hello{} })
	for range 100 {
		c := s.dial(t)
		c.send("ignored\n")
		if got, err := io.ReadAll(c); err != nil || string(got) != "hello\r\n" {
			t.Fatalf("%q, %v", got, err)
		}
		_ = c.Close()
	}
	eventually(t, "connections are still open, or answers were not counted", func() bool {
		st := s.config.Counters.Stats()
		return st.Open == 0 && st.Answers[answer.DaytimeForm] == 100
	})
}

func TestServerFirstClosesIfTheClockIsNotTrusted(t *testing.T) {
	s := start(t, func(c *Config) { c.ServerFirst = silent{} })
	c := s.dial(t)
	c.end()
	eventually(t, "the close was not counted", func() bool { return s.config.Counters.Stats().Untrusted == 1 })
	if n := s.config.Counters.Stats().Answers; n != [answer.NumForms]uint64{} {
		t.Errorf("%v answers", n)
	}
}

func TestNumberOfLingeringConnectionsIsBounded(t *testing.T) {
	s := start(t, func(c *Config) { c.ServerFirst, c.MaxConns = hello{}, 8 })
	for range 100 {
		c := s.dial(t)
		if got := c.line(); got != "hello\r\n" {
			t.Fatalf("%q", got)
		}
	}
	if n := s.config.Counters.Stats().Open; n > uint64(MaxLingering(8)+1) {
		t.Errorf("%d connections are open, want at most %d", n, MaxLingering(8)+1)
	}
}
