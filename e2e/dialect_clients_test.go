//go:build linux

package e2e_test

import (
	encoding "encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// dialectClient is a command that asks a nowd at the dialects' standard ports.
type dialectClient struct {
	program string
	command string
	stdin   string
	ntp     bool // it checks the leap indicator itself
	verify  func(shown string, s span) error

	refusal string // what it prints if it gets no time
	status  int    // and its exit status then
}

var dialectClients = []dialectClient{
	{
		program: "ntpdig", command: "ntpdig 127.0.0.1", ntp: true, verify: verifyNtpdig,
		refusal: "no eligible servers", status: 1,
	},
	{
		program: "ntpdate", command: "ntpdate -q 127.0.0.1", ntp: true, verify: verifyNtpdig,
		refusal: "no eligible servers", status: 1,
	},
	{
		program: "chronyd", command: "chronyd -Q -t 10 -f /dev/null 'server 127.0.0.1 iburst maxsamples 1'", ntp: true, verify: verifyChronyd,
		refusal: "No suitable source for synchronisation", status: 1,
	},
	{
		program: "rdate", command: "rdate -pn 127.0.0.1", ntp: true, verify: inLayout(time.UnixDate),
		refusal: "Ignoring NTP server with alarm flag set", status: 1,
	},
	{
		program: "rdate", command: "rdate -p 127.0.0.1", verify: inLayout(time.UnixDate),
		refusal: "Could not read data", status: 1,
	},
	{
		// Without an answer it waits for ever.
		program: "rdate", command: "timeout 3 rdate -pu 127.0.0.1", verify: inLayout(time.UnixDate), status: 124,
	},
	{
		program: "busybox", command: "busybox rdate -p 127.0.0.1", verify: inLayout(time.ANSIC),
		refusal: "short read", status: 1,
	},
	{program: "nc.openbsd", command: "nc.openbsd -d 127.0.0.1 13", verify: verifyDaytime},
	{program: "nc.traditional", command: "nc.traditional 127.0.0.1 13", verify: verifyDaytime},
	{program: "nc.openbsd", command: "nc.openbsd -u -W1 -w2 127.0.0.1 13", stdin: "\n", verify: verifyDaytime},
	{program: "curl", command: "curl -sm5 telnet://127.0.0.1:13", verify: verifyDaytime},
	{program: "nc.openbsd", command: "nc.openbsd -d 127.0.0.1 37", verify: verifyTime},
	{program: "nc.openbsd", command: "nc.openbsd -u -W1 -w2 127.0.0.1 37", stdin: "\n", verify: verifyTime},
}

func TestClientsOfEveryDialectShowTheTime(t *testing.T) {
	t.Parallel()
	testDialectClients(t, synced, func(dialectClient) bool { return true })
}

func TestClientsOfNTPRefuseAnUnsyncedClock(t *testing.T) {
	if testing.Short() {
		t.Skip("some clients wait for 10 s")
	}
	t.Parallel()
	testDialectClients(t, unsynced, func(c dialectClient) bool { return !c.ntp })
}

func TestClientsOfEveryDialectGetNoTimeFromAnUnsyncedClockIfSyncIsRequired(t *testing.T) {
	if testing.Short() {
		t.Skip("some clients wait for 10 s")
	}
	t.Parallel()
	testDialectClients(t, unsynced, func(dialectClient) bool { return false }, "NOWD_REQUIRE_SYNC=true")
}

// testDialectClients runs all clients against a nowd with this clock, and checks which of them are served. For clients other
// than NTP's its clock is an hour ahead, so that the time that they show is not their own host's. NTP's clients compare both
// clocks.
func testDialectClients(t *testing.T, k kernel, served func(dialectClient) bool, env ...string) {
	ahead := k
	ahead.Shift = time.Hour
	right, wrong := newNamespace(t), newNamespace(t)
	speak(t, right, k, env...)
	speak(t, wrong, ahead, env...)
	t.Run("clients", func(t *testing.T) {
		for _, c := range dialectClients {
			ns, shift := wrong, ahead.Shift
			if c.ntp {
				ns, shift = right, 0
			}
			t.Run(c.command, func(t *testing.T) {
				t.Parallel()
				tool(t, c.program)
				var r result
				s := during(func() { r = runIn(t, ns, c.command, c.stdin) })
				s = span{s.before.Add(shift), s.after.Add(shift)}
				if err := c.check(r, s, served(c)); err != nil {
					t.Errorf("%v; exit status %d\n%s%s", err, r.status, r.stdout, r.stderr)
				}
			})
		}
	})
}

func (c *dialectClient) check(r result, s span, served bool) error {
	shown := r.stdout + r.stderr
	switch {
	case served && r.status != 0:
		return errors.New("it failed")
	case served:
		return c.verify(shown, s)
	case r.status != c.status:
		return fmt.Errorf("want exit status %d", c.status)
	case c.refusal == "" && shown != "":
		return errors.New("want nothing")
	case !strings.Contains(shown, c.refusal):
		return fmt.Errorf("want %q", c.refusal)
	}
	return nil
}

var ntpdig = regexp.MustCompile(`^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.(\d+) \(\+0000\) ([+-]\d+\.\d+) \+/- (\d+\.\d+) 127\.0\.0\.1 s10 no-leap\n$`)

// verifyNtpdig checks the time, and that the true offset, 0, is within ntpdig's error bound: half the round trip.
func verifyNtpdig(shown string, s span) error {
	m := ntpdig.FindStringSubmatch(shown)
	if m == nil {
		return errors.New("want a time, an offset and stratum 10")
	}
	at, err := time.Parse(time.DateTime, m[1])
	if err != nil {
		return err
	}
	micros, _ := strconv.Atoi(m[2]) // it prints no leading zeros
	at = at.Add(time.Duration(micros) * time.Microsecond)
	offset, _ := strconv.ParseFloat(m[3], 64)
	within, _ := strconv.ParseFloat(m[4], 64)
	if max(offset, -offset) > within+1e-5 {
		return errors.New("want an offset of 0")
	}
	margin := time.Duration(within*1e9) + time.Millisecond // half the round trip lies between the two readings of a clock
	return span{s.before.Add(-margin), s.after.Add(margin)}.check(at, time.Microsecond)
}

var wrongBy = regexp.MustCompile(`System clock wrong by (-?\d+\.\d{6}) seconds`)

func verifyChronyd(shown string, _ span) error {
	m := wrongBy.FindStringSubmatch(shown)
	if m == nil {
		return errors.New("want an offset")
	}
	if offset, err := strconv.ParseFloat(m[1], 64); err != nil || max(offset, -offset) > 0.05 {
		return errors.New("want an offset of 0")
	}
	return nil
}

func inLayout(layout string) func(string, span) error {
	return func(shown string, s span) error {
		at, err := time.Parse(layout, strings.TrimSuffix(shown, "\n"))
		if err != nil {
			return err
		}
		return s.check(at, time.Second)
	}
}

func verifyDaytime(shown string, s span) error {
	return inLayout("2006-01-02 15:04:05 -07:00\r")(shown, s)
}

// verifyTime checks seconds since 1900: RFC 868.
func verifyTime(shown string, s span) error {
	if len(shown) != 4 {
		return errors.New("want 4 bytes")
	}
	const unixEpoch = 2_208_988_800
	return s.check(time.Unix(int64(encoding.BigEndian.Uint32([]byte(shown)))-unixEpoch, 0), time.Second)
}
