package config

import (
	"bytes"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// harmful are the characters that a shell would interpret in the output of "nowd config".
const harmful = " \t\r\n'\"\\$`;&|<>(){}*?!#~\x00\x7f"

// FuzzListen: the String of an accepted address parses as the same address.
func FuzzListen(f *testing.F) {
	for _, s := range []string{"", "off", "OFF", ":3333", ":0", ":65536", "3333", "localhost:1", "[::1]:2", "::1:2", "[fe80::1%eth0]:3", "127.0.0.1:4", "[127.0.0.1]:5", "a_b-c.d:6", "999.1.1.1:7", "x:http", "[x]:8", "[]:9", "a b:10", ":+1", ":0x1", ":1_0", ":00080", "$(x):11", "é:12", "host:", "127.0.0.1:1,[::1]:1", ":1,:2", ":1,", ",:1", ":1,off", ":1,:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		before := Listen{{"before", 1}}
		l := before
		if err := l.UnmarshalText([]byte(s)); err != nil {
			if !slices.Equal(l, before) {
				t.Errorf("%q is refused, but changes the value to %+v", s, l)
			}
			return
		}
		var again Listen
		if err := again.UnmarshalText([]byte(l.String())); err != nil || !slices.Equal(again, l) {
			t.Errorf("%q is %+v, %q is %+v: %v", s, l, l.String(), again, err)
		}
		if l.Off() != (s == "off") || slices.Contains(l.Ports(), 0) {
			t.Errorf("%q is %+v", s, l)
		}
		if strings.ContainsAny(s, harmful) {
			t.Errorf("%q is accepted", s)
		}
	})
}

// FuzzConfig: for any environment, either every setting is within its bounds and the
// output of Print loads as the same settings, or the error names each mistake.
func FuzzConfig(f *testing.F) {
	f.Add("")
	f.Add("NOWD_UDP_LISTEN=off\nNOWD_LOOPS=auto\nNOWD_FORMAT=json\nNOWD_TCP_FRAMING=line")
	f.Add("NOWD_LOOPS=4\nNOWD_TCP_MAX_CONNS=3\nNOWD_RATE_LIMIT=off\nNOWD_LOG_LEVEL=INFO+4")
	f.Add("NOWD_TCP_IDLE_TIMEOUT=1ms\nNOWD_TCP_WRITE_TIMEOUT=9999h\nNOWD_DRAIN_DELAY=-1s\nNOWD_RATE_BURST=1000000001\nNOWD_POLLER=kqueue")
	f.Add("=\n==\nNOWD_\nNOWD_=x\nno equals sign\nNOWD_NEWLINE=t\nNOWD_NEWLINE=perhaps\nNOWD_CLOCK_MAX_ERROR=5e9ns\nNOWD_SERVICE_PORT=1")
	f.Add("NOWD_TCP_IDLE_TIMEOUT=8760h\nNOWD_DRAIN_DELAY=8760h")
	f.Add("NOWD_TCP_IDLE_TIMEOUT=8761h")
	f.Add("TZ=Mars/Olympus\nNOWD_UDP_LISTEN=off\nNOWD_TCP_LISTEN=off")
	f.Add("NOWD_UDP_LISTEN=127.0.0.1:1,[::1]:1\nNOWD_NTP_LISTEN=:2,:1")
	for _, s := range Settings() {
		f.Add(s.Name + "=" + s.Default)
		f.Add(s.Name + "=no such value")
		f.Add(s.Name + "=99999999999999999999")
	}
	f.Fuzz(func(t *testing.T, all string) {
		environ := strings.Split(all, "\n")
		c, err := Load(environ)
		var shown bytes.Buffer
		Print(&shown, environ)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if name, rest, ok := strings.Cut(line, "="); !ok || !strings.HasPrefix(name, "NOWD_") && name != "TZ" || !strings.Contains(rest, ": want ") {
					t.Fatalf("%q: %q", environ, line)
				}
			}
			return
		}
		if c.Loops < 1 || c.Loops > 256 || c.MaxConns < int(c.Loops) || c.MaxConns > 1e9 || c.RateBurst < 1 || c.RateBurst > 1e9 || c.RateLimit < 0 || c.RateLimit > 1e9 {
			t.Fatalf("%q: %+v", environ, c)
		}
		for _, d := range []time.Duration{c.IdleTimeout, c.WriteTimeout, c.ClockMaxError, c.LivenessTimeout, c.DrainDelay + 1, c.ShutdownTimeout + 1} {
			if d <= 0 || d > longest+1 {
				t.Fatalf("%q: %+v", environ, c)
			}
		}
		var again []string
		for line := range strings.Lines(shown.String()) {
			if !strings.HasPrefix(line, "#") {
				again = append(again, strings.TrimSuffix(line, "\n"))
			}
		}
		if got, err := Load(again); err != nil || !reflect.DeepEqual(got, c) {
			t.Fatalf("%q, shown as %q: %v", environ, again, err)
		}
	})
}
