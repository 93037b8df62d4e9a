//go:build linux

package e2e_test

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Without NOWD_REQUIRE_SYNC every dialect answers, and says that the clock is not synchronised if it can. With it, dialects
// that cannot say so are silent.
func TestUnsyncedClockIsToldOrNothingIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		clock    kernel
		required bool
		silent   bool
	}{
		{synced, true, false},
		{unsynced, false, false},
		{unsynced, true, true},
	} {
		t.Run(fmt.Sprintf("max error %v, required %t", c.clock.MaxError, c.required), func(t *testing.T) {
			t.Parallel()
			p := speak(t, nil, c.clock, fmt.Sprintf("NOWD_REQUIRE_SYNC=%t", c.required))
			p.checkReady(t, !c.silent)
			want := "unsynced"
			if c.clock == synced {
				want = "synced"
			}
			if _, status := p.bound(t); status != want {
				t.Errorf("bound says %q, want %q", status, want)
			}
			p.checkTime(t, "udp")
			p.checkTime(t, "tcp")
			p.checkSays(t, "daytime", p.daytime, verifyDaytime, c.silent)
			p.checkSays(t, "time", p.time, verifyTime, c.silent)

			conn := dial(t, "udp", p.ntp)
			answer, _ := askOn(t, conn, string(ntpRequest(4, 3, 1<<32)))
			if len(answer) != ntpSize || (answer[0]>>6 == 3) != (want == "unsynced") || (answer[1] == 0) != (want == "unsynced") {
				t.Errorf("NTP says %x, and bound %q", answer, want)
			}
		})
	}
}

// checkSays checks a server that answers any datagram over UDP, and sends at once over TCP: it sends a valid answer, or
// nothing if it must be silent.
func (p *polyglot) checkSays(t *testing.T, dialect, addr string, verify func(string, span) error, silent bool) {
	t.Helper()
	var said []byte
	var err error
	s := during(func() { said, err = io.ReadAll(dial(t, "tcp", addr)) })
	if err != nil {
		t.Errorf("%s over TCP: %v", dialect, err)
	}
	datagrams := dial(t, "udp", addr)
	if _, err := datagrams.Write(nil); err != nil {
		t.Fatal(err)
	}
	if !silent {
		if err := verify(string(said), s); err != nil {
			t.Errorf("%s over TCP: %v: %q", dialect, err, said)
		}
		buf := make([]byte, 128)
		var n int
		s.after = during(func() { n, err = datagrams.Read(buf) }).after
		if err == nil {
			err = verify(string(buf[:n]), s)
		}
		if err != nil {
			t.Errorf("%s over UDP: %v: %q", dialect, err, buf[:n])
		}
		return
	}
	if len(said) > 0 {
		t.Errorf("%s over TCP says %q", dialect, said)
	}
	p.awaitMetric(t, `nowd_drops_total{protocol="`+dialect+`_udp",reason="untrusted"}`, 1)
	if answers := p.metric(t, `nowd_answers_total{form="`+dialect+`",protocol="`+dialect+`_udp"}`); answers != 0 {
		t.Errorf("%s over UDP has given %v answers", dialect, answers)
	}
}

// An answer in one dialect is no request in another. So a datagram with a spoofed source cannot start a reply loop between
// two services of any dialects.
func TestAnswersOfOneDialectGetNoneInAnother(t *testing.T) {
	t.Parallel()
	apart := synced
	apart.Shift = 100 * 24 * time.Hour
	for _, k := range []kernel{synced, apart} {
		a, b := speak(t, nil, k), speak(t, nil, synced)
		said := map[string]string{}
		for _, word := range words {
			said[word], _ = ask(t, "udp", a.udp, word+strings.Repeat(" ", 600))
		}
		said["daytime"], _ = ask(t, "udp", a.daytime, "")
		said["time"], _ = ask(t, "udp", a.time, "")
		said["NTP"], _ = ask(t, "udp", a.ntp, string(ntpRequest(4, 3, 1<<32)))
		for name, addr := range map[string]string{"text": b.udp, "daytime": b.daytime, "time": b.time, "NTP": b.ntp} {
			last, verify := "hello\n", inForm("datetime")
			switch name {
			case "daytime":
				verify = verifyDaytime
			case "time":
				verify = verifyTime
			case "NTP":
				last = string(ntpRequest(4, 3, 2<<32))
				verify = func(answer string, s span) error { return verifyNTP([]byte(answer), 4, 2<<32, s) }
			}
			for dialect, answer := range said {
				conn := dial(t, "udp", addr)
				if _, err := io.WriteString(conn, answer); err != nil {
					t.Fatal(err)
				}
				// The first answer is to the request sent after it.
				answered, s := askOn(t, conn, last)
				if err := verify(answered, s); err != nil {
					t.Errorf("%s asked with an answer of %s, %q: %v: %q", name, dialect, answer, err, answered)
				}
			}
		}
	}
}

var disagrees = regexp.MustCompile(`(?m)^disagrees: (\S+), ([+-]\d+\.\d{6})s from the majority$`)

func TestQueryNamesTheHostWhoseClockIsWrong(t *testing.T) {
	t.Parallel()
	wrong := synced
	wrong.Shift = 200 * time.Millisecond
	good, alike, bad := speak(t, nil, synced), speak(t, nil, synced), speak(t, nil, wrong)
	for _, proto := range []string{"udp", "tcp", "http"} {
		r := run(t, nil, "query", "-proto", proto, good.tcp, alike.tcp)
		if r.status != 0 || !strings.Contains(r.stdout, "agree: 2 of 2\n") {
			t.Errorf("%s: two good clocks: exit status %d\n%s%s", proto, r.status, r.stdout, r.stderr)
		}
		hosts := []string{good.tcp, alike.tcp, bad.tcp}
		for range hosts {
			hosts = append(hosts[1:], hosts[0])
			r := run(t, nil, slices.Concat([]string{"query", "-proto", proto}, hosts)...)
			named := disagrees.FindAllStringSubmatch(r.stdout, -1)
			if r.status != 1 || len(named) != 1 || named[0][1] != bad.tcp {
				t.Errorf("%s: exit status %d, want 1, and %s named\n%s%s", proto, r.status, bad.tcp, r.stdout, r.stderr)
				continue
			}
			// The error is half a round trip, which is long on a busy host.
			if by, _ := strconv.ParseFloat(named[0][2], 64); by < 0.1 || by > 0.3 {
				t.Errorf("%s: %s, want about 0.2 s", proto, named[0][0])
			}
		}
	}
}
