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

// inputs are valid and invalid client inputs.
var inputs = []string{
	"", "\n", "hi", "hi\n", "unix\nunixms\r\nUNIXNS \n\n", "json\nbound\nhelp\nrfc3339\n", "a\nb", "G", "GE\nHEA", "GET\n", "GETTY\nunix\n",
	"GET / HTTP/1.1\r\n\r\n", "HEAD /unix HTTP/1.0\n\nunix\n", "unix\nGET /json?x HTTP/1.1\r\nHost: x\r\n\r\nunix", "GET /nothing HTTP/1.1\n\r\n", "GET / HTTP/1.1\r\nHost", "GET unix\n\n",
	strings.Repeat("x", maxLine) + "\nunix\n", strings.Repeat("x", maxLine+1) + "\nunix\n", "\n" + strings.Repeat("x", 3*readSize) + "\nunix\n", strings.Repeat("x", 3*readSize),
	"GET /" + strings.Repeat("x", answer.MaxHead-5), "GET /" + strings.Repeat("x", answer.MaxHead-5) + "\n\n", "GET /" + strings.Repeat("x", answer.MaxHead-18) + " HTTP/1.1\n\n", strings.Repeat("json\n", 100), strings.Repeat("\x00 \t\xff\n", 300),
}

// stopped returns a server whose loop does not run, and the time at which its clock stands
// still.
func stopped(t testing.TB) (*Server, time.Time) {
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

// partialWriter is a connection on which each write accepts at most the next of limits
// bytes. After the last limit, writes accept everything.
type partialWriter struct {
	conn
	limits  []byte
	written []byte
}

// receive answers the unparsed input followed by b.
func (c *partialWriter) receive(b []byte) {
	in := append(c.unparsed, b...)
	for {
		s := c.server
		out, last := c.appendAnswers(append(s.out[:0], c.unsent...), in)
		n := len(out)
		if len(c.limits) > 0 {
			n = min(n, int(c.limits[0]))
			c.limits = c.limits[1:]
		}
		c.written = append(c.written, out[:n]...)
		in = in[c.commit(out, n):]
		if n == len(out) && (last.kind == incomplete || c.closing) {
			c.unparsed = bytes.Clone(in)
			return
		}
	}
}

// FuzzStream splits a connection's input and its output at arbitrary points. The client
// gets the same answers as without splits. It uses no sockets.
func FuzzStream(f *testing.F) {
	for i, in := range inputs {
		f.Add([]byte(in), []byte{1, 7, 200, 0, 3}, []byte{1, 0, 30, 2}, byte(i), i%3 > 0)
		f.Add([]byte(in), []byte{255, 255, 255, 255, 255, 255, 255, 255}, []byte{}, byte(i+1), i%2 > 0)
	}
	s, now := stopped(f)
	f.Fuzz(func(t *testing.T, in, cuts, limits []byte, kind byte, eof bool) {
		p := patience(kind) % numPatiences
		if p != lines {
			in = append([]byte("\n"), in...) // sets sawLine: from now on, partial lines wait for their rest
		}
		c := &partialWriter{conn: conn{server: s, progress: progress{framer: framer{framing: framingOf(p)}}}, limits: limits}
		due := &ledger{patience: p, text: s.config.Text}
		for len(in) > 0 && !c.closing {
			size := readSize
			if len(cuts) > 0 {
				size, cuts = 1+int(cuts[0])*8, cuts[1:]
			}
			b := in[:min(size, len(in))]
			in = in[len(b):]
			due.send(b)
			c.receive(b)
			if p == eager && len(b)%2 == 0 && !c.closing { // a pause
				due.pause()
				c.timedOut = len(c.unparsed) > 0 && !isHead(c.unparsed)
				c.receive(nil)
			}
			if len(c.unparsed) > max(maxLine, answer.MaxHead) {
				t.Fatalf("the connection keeps %d bytes of input", len(c.unparsed))
			}
		}
		if eof && !c.closing {
			due.end()
			c.eof = true
			c.receive(nil)
		}
		got := c.written
		for i, d := range due.dues {
			n, err := d.check(got, true, now, now)
			if err != nil {
				t.Fatalf("answer %d of %d: %v", i+1, len(due.dues), err)
			}
			got = got[n:]
		}
		if len(got) > 0 {
			t.Fatalf("output after the %d answers owed: %q", len(due.dues), got)
		}
	})
}

func framingOf(p patience) Framing {
	if p == lines {
		return Line
	}
	return Burst
}

// FuzzFramingNames: String returns the name that UnmarshalText accepted.
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

// TestModelRejectsWrongAnswers tests the model itself.
func TestModelRejectsWrongAnswers(t *testing.T) {
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
