package tcp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"nowd/answer"
	"nowd/clock"
	"nowd/reactor"
)

// inputs are what clients send, good and bad.
var inputs = []string{
	"", "\n", "hi", "hi\n", "unix\nunixms\r\nUNIXNS \n\n", "json\nbound\nhelp\nrfc3339\n", "a\nb", "G", "GE\nHEA", "GET\n", "GETTY\nunix\n",
	"GET / HTTP/1.1\r\n\r\n", "HEAD /unix HTTP/1.0\n\nunix\n", "unix\nGET /json?x HTTP/1.1\r\nHost: x\r\n\r\nunix", "GET /nothing HTTP/1.1\n\r\n", "GET / HTTP/1.1\r\nHost", "GET unix\n\n",
	strings.Repeat("x", maxLine) + "\nunix\n", strings.Repeat("x", maxLine+1) + "\nunix\n", "\n" + strings.Repeat("x", 3*readSize) + "\nunix\n", strings.Repeat("x", 3*readSize),
	"GET /" + strings.Repeat("x", answer.MaxHead-5), "GET /" + strings.Repeat("x", answer.MaxHead-5) + "\n\n", "GET /" + strings.Repeat("x", answer.MaxHead-18) + " HTTP/1.1\n\n", strings.Repeat("json\n", 100), strings.Repeat("\x00 \t\xff\n", 300),
}

// still returns a server without a loop that runs, whose clock stands, and what
// it says.
func still(t testing.TB) (*Server, time.Time) {
	l, err := reactor.New(reactor.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	now := time.Now()
	c := clock.New(clock.Config{Now: func() time.Time { return now }})
	s := NewServer(l, Config{Clock: c, Text: answer.NewText(c, time.UTC, answer.DateTime, true), Counters: NewCounters(l)})
	t.Cleanup(s.spare.Close)
	return s, now
}

// taking is a connection to a kernel that takes of what is written to it only
// as much as takes says, in turn, and all when that is used up.
type taking struct {
	conn
	takes []byte
	taken []byte
}

// more answers what has come, after what was left of what came before.
func (c *taking) more(b []byte) {
	in := append(c.unparsed, b...)
	for {
		s := c.server
		out, last := c.appendAnswers(append(s.out[:0], c.unsent...), in)
		n := len(out)
		if len(c.takes) > 0 {
			n = min(n, int(c.takes[0]))
			c.takes = c.takes[1:]
		}
		c.taken = append(c.taken, out[:n]...)
		in = in[c.commit(out, n):]
		if n == len(out) && (last.kind == incomplete || c.closing) {
			c.unparsed = bytes.Clone(in)
			return
		}
	}
}

// FuzzStream has a connection get an input in pieces, and rid of its answers in
// others: that changes nothing of what is owed. It goes without sockets.
func FuzzStream(f *testing.F) {
	for i, in := range inputs {
		f.Add([]byte(in), []byte{1, 7, 200, 0, 3}, []byte{1, 0, 30, 2}, byte(i), i%3 > 0)
		f.Add([]byte(in), []byte{255, 255, 255, 255, 255, 255, 255, 255}, []byte{}, byte(i+1), i%2 > 0)
	}
	s, now := still(f)
	f.Fuzz(func(t *testing.T, in, cuts, takes []byte, kind byte, eof bool) {
		p := patience(kind) % numPatiences
		if p != lines {
			in = append([]byte("\n"), in...) // from now on a client may be at a line's beginning
		}
		c := &taking{conn: conn{server: s, progress: progress{framer: framer{framing: framingOf(p)}}}, takes: takes}
		due := &ledger{patience: p, text: s.config.Text}
		for len(in) > 0 && !c.closing {
			size := readSize
			if len(cuts) > 0 {
				size, cuts = 1+int(cuts[0])*8, cuts[1:]
			}
			b := in[:min(size, len(in))]
			in = in[len(b):]
			due.send(b)
			c.more(b)
			if p == eager && len(b)%2 == 0 && !c.closing { // a pause
				due.pause()
				c.timedOut = len(c.unparsed) > 0 && !isHead(c.unparsed)
				c.more(nil)
			}
			if len(c.unparsed) > max(maxLine, answer.MaxHead) {
				t.Fatalf("it keeps %d bytes", len(c.unparsed))
			}
		}
		if eof && !c.closing {
			due.end()
			c.eof = true
			c.more(nil)
		}
		got := c.taken
		for i, d := range due.dues {
			n, err := d.check(got, true, now, now)
			if err != nil {
				t.Fatalf("answer %d of %d: %v", i+1, len(due.dues), err)
			}
			got = got[n:]
		}
		if len(got) > 0 {
			t.Fatalf("more than the %d answers that are owed: %q", len(due.dues), got)
		}
	})
}

func framingOf(p patience) Framing {
	if p == lines {
		return Line
	}
	return Burst
}

// FuzzFramingNames: a name that is accepted is what is shown again.
func FuzzFramingNames(f *testing.F) {
	for _, s := range []string{"burst", "line", "", "Line", "burst\n", "lines"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		const before = Framing(7)
		got := before
		switch err := got.UnmarshalText(b); {
		case err == nil && got.String() != string(b):
			t.Errorf("%q is %v", b, got)
		case err != nil && (got != before || string(b) == "burst" || string(b) == "line"):
			t.Errorf("%q: %v, %v", b, got, err)
		}
	})
}

// TestModelTellsWrongAnswers: the check would see them.
func TestModelTellsWrongAnswers(t *testing.T) {
	now := time.Date(2026, 11, 20, 17, 17, 42, 813729123, time.UTC)
	for form, wrong := range map[answer.Form][]string{
		answer.DateTime: {"2026-11-20 17:17:43.813729\n", "2026-11-20 17:17:42.81372\n", "1795195062\n", "\n"},
		answer.Unix:     {"1795195061\n", "1795195063\n", "1795195062813\n", "-\n"},
		answer.UnixNS:   {"1795195062813729124\n", "1795195062813729122\n", "1795195062\n"},
		answer.JSON:     {"{}\n", "{\n", "1795195062\n"},
		answer.Bound:    {"- - synced?\n", "synced\n"},
		answer.Help:     {"help\n"},
	} {
		for _, s := range wrong {
			if _, err := (due{form: form}).check([]byte(s), true, now, now); err == nil {
				t.Errorf("%v: %q passes", form, s)
			}
		}
	}
	if _, err := (due{}).check([]byte("2026-11-20 17:17:42.81"), true, now, now); !errors.Is(err, errTooFew) {
		t.Errorf("half an answer: %v", err)
	}
}
