package main

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// serveLines accepts connections and has each handled.
func serveLines(t *testing.T, handle func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestQueryReadsWhatServersSend(t *testing.T) {
	line := func(c net.Conn) { _, _ = c.Read(make([]byte, 64)) }
	for name, c := range map[string]struct {
		handle func(net.Conn)
		code   int
		want   string
	}{
		"a line":             {func(c net.Conn) { line(c); _, _ = io.WriteString(c, "2026-11-21T01:17:42.5Z\n"); line(c) }, 0, "2026-11-21T01:17:42.5Z  round trip "},
		"in pieces":          {func(c net.Conn) { line(c); _, _ = io.WriteString(c, "he"); _, _ = io.WriteString(c, "re\n"); line(c) }, 0, "here  round trip "},
		"no newline":         {func(c net.Conn) { line(c); _, _ = io.WriteString(c, "here"); line(c) }, 0, "here  round trip "},
		"closes without one": {func(c net.Conn) { line(c); _, _ = io.WriteString(c, "here") }, 0, "here  round trip "},
		"two lines":          {func(c net.Conn) { line(c); _, _ = io.WriteString(c, "one\ntwo\n"); line(c) }, 0, "one  round trip "},
		"nothing":            {func(c net.Conn) { line(c); line(c) }, 1, ""},
		"closes":             {line, 1, ""},
		"control characters": {func(c net.Conn) { line(c); _, _ = io.WriteString(c, "\x1b]0;x\x07\n"); line(c) }, 0, `"\x1b]0;x\a"  round trip `},
		"without an end": {func(c net.Conn) {
			for line(c); ; {
				if _, err := c.Write(bytes.Repeat([]byte{'x'}, 1<<16)); err != nil {
					return
				}
			}
		}, 0, "xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			code := query([]string{"-proto=tcp", "-timeout=300ms", "-n=2", "-i=1ms", serveLines(t, c.handle)}, &out, &errs)
			if code != c.code || !strings.HasPrefix(out.String(), c.want) || strings.Contains(out.String(), "two") || out.Len() > 3*maxReply {
				t.Errorf("status %d, %.200q, %q", code, out.String(), errs.String())
			}
		})
	}
}

func TestQueryShowsTheOffsetOfEachPreciseForm(t *testing.T) {
	at := time.Date(2026, 11, 21, 1, 17, 42, 813729123, time.UTC)
	for text, want := range map[string]string{
		"2026-11-21T01:17:42.813729123Z":      "offset +2.000000s ±0.500000s",
		"2026-11-21T02:17:42.813729123+01:00": "offset +2.000000s ±0.500000s",
		"1795223862813":                       "offset +1.999271s",
		"1795223862813729":                    "offset +2.000000s",
		"1795223862813729123":                 "offset +2.000000s",
		`{"unix_ns":1795223862813729123}`:     "offset +2.000000s",
	} {
		sent := at.Add(-2500 * time.Millisecond)
		if got := (reply{text, sent, sent.Add(time.Second)}).String(); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{"1795223862", "2026-11-21 01:17:42.813729", "what?", "{}"} {
		if got := (reply{text, at, at}).String(); strings.Contains(got, "offset") {
			t.Errorf("%s: %s", text, got)
		}
	}
}
