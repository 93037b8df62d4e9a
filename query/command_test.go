package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"nowd/command"
)

// serveClock answers datagrams like a nowd whose clock has the error shift. The statuses of
// its answers are states, the last one repeatedly.
func serveClock(t *testing.T, shift time.Duration, states ...string) string {
	t.Helper()
	return serveAnswers(t, func(i int) (time.Duration, string) { return shift, states[min(i, len(states)-1)] })
}

// serveAnswers answers datagrams like a nowd. state returns the error of the clock and the
// status for the i-th answer.
func serveAnswers(t *testing.T, state func(i int) (shift time.Duration, status string)) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 1024)
		for i := 0; ; i++ {
			_, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			shift, status := state(i)
			now := time.Now().Add(shift)
			_, _ = fmt.Fprintf(writerTo{conn, from}, `{"time":%q,"unix_ns":%d,"earliest_unix_ns":null,"latest_unix_ns":null,"status":%q}`+"\n",
				now.UTC().Format(time.RFC3339Nano), now.UnixNano(), status)
		}
	}()
	return conn.LocalAddr().String()
}

type writerTo struct {
	net.PacketConn
	to net.Addr
}

func (w writerTo) Write(b []byte) (int, error) { return w.WriteTo(b, w.to) }

// silent returns an address that does not answer.
func silent(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn.LocalAddr().String()
}

// runQuery runs "nowd query" with args.
func runQuery(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	p := command.Program{Name: "nowd", Default: "query", Commands: []*command.Command{&Command}}
	code = p.Run(append([]string{"query"}, args...), nil, &out, &errs)
	return code, out.String(), errs.String()
}

// parsed returns the options of a command line.
func parsed(t *testing.T, args ...string) *options {
	t.Helper()
	flags := flag.NewFlagSet("query", flag.ContinueOnError)
	o := newOptions(flags)
	if err := errors.Join(flags.Parse(args), o.check(flags.Args())); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestExamplesAreValid(t *testing.T) {
	for line := range strings.Lines(Command.Examples) {
		parsed(t, strings.Fields(line)[2:]...)
	}
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
			code, out, errs := runQuery("-proto=tcp", "-timeout=300ms", "-n=2", "-i=1ms", connections(t, c.handle))
			if code != c.code || !strings.HasPrefix(out, c.want) || strings.Contains(out, "two") || len(out) > 10_000 {
				t.Errorf("status %d, %.200q, %q", code, out, errs)
			}
		})
	}
}

func TestQueryNamesTheHostWhoseClockIsShifted(t *testing.T) {
	a, b, c := serveClock(t, 0, "synced"), serveClock(t, 0, "synced"), serveClock(t, 200*time.Millisecond, "synced")
	for i, hosts := range [][]string{{a, b, c}, {c, a, b}} {
		code, out, errs := runQuery(hosts...)
		if code != 1 || strings.Count(out, "disagrees: ") != 1 || !strings.Contains(out, "\ndisagrees: "+c+", +0.") || errs != "" {
			t.Errorf("order %d: status %d\n%s%s", i, code, out, errs)
		}
		code, out, errs = runQuery(append([]string{"-o=json"}, hosts...)...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		var comparison struct {
			Type     string
			Agree    *bool
			Disagree []string
		}
		err := json.Unmarshal([]byte(lines[len(lines)-1]), &comparison)
		if err != nil || code != 1 || errs != "" || len(lines) != 4 || comparison.Type != "comparison" ||
			comparison.Agree == nil || *comparison.Agree || !slices.Equal(comparison.Disagree, []string{c}) {
			t.Errorf("order %d: status %d, %v\n%s%s", i, code, err, out, errs)
		}
	}
	if code, out, errs := runQuery(a, b); code != 0 || !strings.Contains(out, "\nagree: 2 of 2\n") || errs != "" {
		t.Errorf("two that agree: status %d\n%s%s", code, out, errs)
	}
}

func TestQueryNamesTheHostThatDoesNotAnswer(t *testing.T) {
	a, b, mute := serveClock(t, 0, "synced"), serveClock(t, 0, "synced"), silent(t)
	code, out, _ := runQuery("-timeout=100ms", a, mute, b)
	if code != 1 || !strings.Contains(out, "\nno answer: "+mute+": no answer within 100ms\n") || !strings.Contains(out, "\nagree: 2 of 3\n") {
		t.Errorf("status %d\n%s", code, out)
	}
}

func TestQueryNamesTheHostThatCannotBeCompared(t *testing.T) {
	a := connections(t, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 64))
		_, _ = io.WriteString(c, "half past nine\n")
	})
	code, out, _ := runQuery("-proto=tcp", a, a)
	if code != 1 || strings.Count(out, "cannot be compared: "+a+"\n") != 2 {
		t.Errorf("status %d\n%s", code, out)
	}
}

func TestQueryWaitsUntilAHostIsSynced(t *testing.T) {
	code, out, errs := runQuery("-w", "-i=1ms", serveClock(t, 0, "unsynced", "unsynced", "synced"))
	if lines := strings.Split(out, "\n"); code != 0 || len(lines) != 4 ||
		!strings.HasSuffix(lines[1], " unsynced") || !strings.HasSuffix(lines[2], " synced") || !strings.Contains(errs, "answered 3 of 3") {
		t.Errorf("status %d\n%s%s", code, out, errs)
	}
	for _, output := range []string{"text", "json"} {
		if code, out, _ := runQuery("-w", "-n=3", "-i=1ms", "-o", output, serveClock(t, 0, "unsynced")); code != 1 {
			t.Errorf("never synced: status %d\n%s", code, out)
		}
	}
	// It waits until all of several hosts are synced.
	code, out, _ = runQuery("-w", "-i=1ms", "-o=json", serveClock(t, 0, "synced"), serveClock(t, 0, "unsynced", "synced"))
	if code != 0 || strings.Count(out, `"type":"comparison"`) != 2 || strings.Count(out, `"type":"summary"`) != 2 {
		t.Errorf("status %d\n%s", code, out)
	}
}

func TestQueryThatIsInterruptedSumsUp(t *testing.T) {
	o := parsed(t, "-n=0", "-i=1h", serveClock(t, 0, "synced"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var errs bytes.Buffer
	// The first answer interrupts it.
	if code := o.run(ctx, writerFunc(func(b []byte) (int, error) { cancel(); return len(b), nil }), &errs); code != 0 {
		t.Errorf("status %d", code)
	}
	if !strings.Contains(errs.String(), "answered 1 of 1; round trip ") {
		t.Errorf("%q", errs.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// A disagreement in an earlier round makes the status 1, but not with -w.
func TestQueryRemembersADisagreement(t *testing.T) {
	for flag, want := range map[string]int{"-n=2": 1, "-w": 0} {
		mended := serveAnswers(t, func(i int) (time.Duration, string) {
			if i == 0 {
				return time.Hour, "unsynced"
			}
			return 0, "synced"
		})
		code, out, errs := runQuery(flag, "-i=0", serveClock(t, 0, "synced"), mended)
		if code != want || strings.Count(errs, "; disagreed once\n") != 2 || !strings.HasSuffix(out, "\nagree: 2 of 2\n") {
			t.Errorf("%s: status %d\n%s%s", flag, code, out, errs)
		}
	}
}

func TestQueryRefusesWhatItDoesNotUnderstand(t *testing.T) {
	const (
		protocols = "want one of daytime, daytime+tcp, http, ntp, tcp, time, time+tcp, udp"
		words     = "want one of datetime, rfc3339, unix, unixms, unixus, unixns, bound, json, help"
		host      = "want HOST, HOST:PORT or [IPv6]:PORT"
	)
	for _, c := range []struct {
		args string
		want string
	}{
		{"-proto=sctp", `invalid value "sctp" for flag -proto: ` + protocols}, {"-proto=", protocols},
		{"-n=-1", `invalid value "-1" for flag -n: want a whole number of 0 or more`}, {"-n=x", "want a whole number"},
		{"-i=-1s", "want a time of 0 or more, such as"}, {"-i=5", "want a time of 0 or more"}, {"-timeout=0", "want a time above 0"},
		{"-o=xml", "want one of text, json"}, {"-ask=", words}, {"-ask=sundial", words},
		{"-x", "unknown flag -x; want one of -ask, -i, -n, -o, -proto, -timeout, -w"}, {"-n", "flag needs an argument: -n"},
		{"-proto=ntp -ask=json", "want -proto udp, tcp or http"}, {"-proto=time -w", "want -proto udp, tcp, http or ntp, without -ask"},
		{"-proto=daytime -w", "does not say whether the clock is synced"}, {"-w -ask=rfc3339", "without -ask"},
		{"-ask=datetime a b", "-ask=datetime: several hosts cannot be compared by this word; want rfc3339"}, {"-ask=help a b", "cannot be compared"},
		{"a:b:c", host}, {"a b:", `"b:": want a port from 1 to 65535`}, {"a -n 2", `"-n": flags come before [HOST[:PORT]]...`},
	} {
		code, out, errs := runQuery(strings.Fields(c.args)...)
		if code != 2 || out != "" || !strings.HasPrefix(errs, "nowd query: ") || !strings.Contains(errs, c.want) || !strings.HasSuffix(errs, "\n\"nowd query -h\" prints the help.\n") {
			t.Errorf("%q: status %d, %q, %q, want %q", c.args, code, out, errs, c.want)
		}
	}
	if code, _, errs := runQuery(""); code != 2 || !strings.Contains(errs, host) {
		t.Errorf("an empty host: status %d, %q", code, errs)
	}
}
