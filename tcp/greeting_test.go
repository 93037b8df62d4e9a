package tcp

import (
	"io"
	"testing"
	"time"

	"nowd/answer"
)

// hello greets, or says nothing.
type hello struct{ says string }

func (h *hello) Append(b []byte, now time.Time) ([]byte, answer.Form) {
	return append(b, h.says...), answer.Unix
}

func TestGreetingIsSaidAtOnceAndThenTheConnectionCloses(t *testing.T) {
	s := start(t, func(c *Config) { c.Greeting = &hello{"hello\r\n"} })
	for range 100 {
		c := s.dial(t)
		c.send("what a client says makes no difference\n")
		if got, err := io.ReadAll(c); err != nil || string(got) != "hello\r\n" {
			t.Fatalf("%q, %v", got, err)
		}
		_ = c.Close()
	}
	eventually(t, "connections stay open, or answers are not counted", func() bool {
		st := s.Counters.Stats()
		return st.Open == 0 && st.Answers[answer.Unix] == 100
	})
}

func TestWhoHasNothingToSayCloses(t *testing.T) {
	s := start(t, func(c *Config) { c.Greeting = &hello{} })
	c := s.dial(t)
	c.end()
	eventually(t, "not counted", func() bool { return s.Counters.Stats().Untrusted == 1 })
	if n := s.Counters.Stats().Answers; n != [answer.NumForms]uint64{} {
		t.Errorf("%v answers", n)
	}
}

func TestGreetedClientsThatStayAreFew(t *testing.T) {
	s := start(t, func(c *Config) { c.Greeting, c.MaxConns = &hello{"hello\r\n"}, 8 })
	for range 100 {
		c := s.dial(t)
		if got := c.line(); got != "hello\r\n" {
			t.Fatalf("%q", got)
		}
	}
	if n := s.Counters.Stats().Open; n > uint64(Lingering(8)+1) {
		t.Errorf("%d connections are open", n)
	}
}
