package answer

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"nowd/clock"
)

func TestDaytimeIsOneLine(t *testing.T) {
	for _, c := range []struct {
		zone string
		at   time.Time
		want string
	}{
		{"UTC", moment, "2026-11-20 17:17:42 +00:00\r\n"},
		{"Asia/Shanghai", moment, "2026-11-21 01:17:42 +08:00\r\n"},
		{"Asia/Kathmandu", moment, "2026-11-20 23:02:42 +05:45\r\n"},
		{"Europe/Berlin", time.Date(2026, 10, 25, 0, 59, 59, 999999999, time.UTC), "2026-10-25 02:59:59 +02:00\r\n"},
		{"Europe/Berlin", time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC), "2026-10-25 02:00:00 +01:00\r\n"},
		{"UTC", time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC), "2036-02-07 06:28:16 +00:00\r\n"},
		{"UTC", time.Date(2016, 12, 31, 23, 59, 59, 999999999, time.UTC), "2016-12-31 23:59:59 +00:00\r\n"}, // repeated for a leap second
		{"UTC", time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC), "2017-01-01 00:00:00 +00:00\r\n"},
	} {
		d := NewDaytime(zone(t, c.zone), nil)
		for range 2 { // the second answer comes from the cache
			if got := string(first(d.Append(nil, c.at))); got != c.want {
				t.Errorf("%v in %s: %q, want %q", c.at, c.zone, got, c.want)
			}
		}
	}
	d := NewDaytime(zone(t, "Europe/Berlin"), nil)
	for _, at := range moments() {
		got := first(d.Append(nil, at))
		if want := at.In(zone(t, "Europe/Berlin")).Format("2006-01-02 15:04:05 -07:00") + "\r\n"; string(got) != want || len(got) > maxUnpadded {
			t.Errorf("%q, want %q", got, want)
		}
		if !IsAnswer(got) {
			t.Errorf("IsAnswer(%q) is false", got)
		}
	}
}

func TestTimeWrapsIn2036(t *testing.T) {
	x := NewTime(nil)
	for at, want := range map[time.Time]uint32{
		time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC):              2208988800, // the first five are the examples of the RFC
		time.Date(1976, 1, 1, 0, 0, 0, 0, time.UTC):              2398291200,
		time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC):              2524521600,
		time.Date(1983, 5, 1, 0, 0, 0, 0, time.UTC):              2629584000,
		time.Date(1900, 1, 1, 0, 0, 1, 0, time.UTC):              1,
		time.Date(2036, 2, 7, 6, 28, 15, 999999999, time.UTC):    0xffffffff,
		time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC):            0,
		time.Date(2036, 2, 7, 6, 28, 17, 0, time.UTC):            1,
		time.Date(2016, 12, 31, 23, 59, 59, 999999999, time.UTC): 3692217599,
	} {
		b := first(x.Append(nil, at))
		if got := binary.BigEndian.Uint32(b); got != want || len(b) != 4 {
			t.Errorf("%v: %d, want %d", at, got, want)
		}
		if !IsAnswer(b) {
			t.Errorf("%v: IsAnswer(%x) is false", at, b)
		}
	}
}

func TestUntrustedClockGivesNoDaytimeAndNoTime(t *testing.T) {
	trusted := false
	f := func(now time.Time) bool {
		if !now.Equal(moment) {
			t.Errorf("trusted was called with %v, want %v", now, moment)
		}
		return trusted
	}
	d, x := NewDaytime(time.UTC, f), NewTime(f)
	for _, trusted = range []bool{true, false, true} {
		for name, b := range map[string][]byte{
			"daytime": first(d.Append(nil, moment)), "time": first(x.Append(nil, moment)),
			"daytime datagram": first(d.AppendDatagram(nil, nil, 0, moment, moment)), "time datagram": first(x.AppendDatagram(nil, nil, 0, moment, moment)),
		} {
			if got := len(b) > 0; got != trusted {
				t.Errorf("trusted %v: %s is %q", trusted, name, b)
			}
		}
	}
}

func TestTextOfFourBytesIsNotTakenForATime(t *testing.T) {
	for _, req := range []string{"time", "unix", "JSON", "hi\r\n", "????", "    ", "\n\n\n\n", "\t\v\f\r", "0000", "~~~~", " !A~", "hi\n\x00", "hi\x00\x00"} {
		if IsAnswer([]byte(req)) {
			t.Errorf("IsAnswer(%q) is true", req)
		}
	}
	for _, other := range []string{"\x00\x00\x00\x00", "\xff\xff\xff\xff", "\xff\xfe\x00\x01", "\xeehi\x00"} {
		if !IsAnswer([]byte(other)) {
			t.Errorf("IsAnswer(%q) is false", other)
		}
	}
}

func TestNTPRequestsAndTextsAreNotTakenForAnswers(t *testing.T) {
	for version := range uint8(8) {
		if IsAnswer(client(version)) {
			t.Errorf("IsAnswer is true for a request of version %d", version)
		}
	}
	for _, w := range append(Words(), "", "hello sock", "$$$$", "des\u65e5") {
		for _, pad := range []byte{0, ' ', '\n', 'x'} {
			req := []byte(w)
			for len(req) < 400 {
				req = append(req, pad)
			}
			if IsAnswer(req) {
				t.Errorf("IsAnswer is true for %q padded with %q", w, pad)
			}
		}
	}
}

// dialect is udp.Dialect.
type dialect interface {
	AppendDatagram(b, req []byte, size int, received, now time.Time) ([]byte, Outcome)
}

// dialects returns one of each dialect and form, by name, on the clock f.
func dialects(t *testing.T, f *fake) map[string]dialect {
	all := map[string]dialect{
		"daytime": NewDaytime(zone(t, "Asia/Kathmandu"), nil),
		"time":    NewTime(nil),
		"ntp":     f.ntp(),
		"kiss":    kisser{f.ntp()},
	}
	for form := range Help {
		for _, newline := range []bool{true, false} {
			all[fmt.Sprintf("%v, newline %v", form, newline)] = NewText(f.ntp().clock, zone(t, "America/St_Johns"), form, newline)
		}
	}
	return all
}

// kisser is an NTP server that answers every request with a kiss.
type kisser struct{ *NTP }

func (k kisser) AppendDatagram(b, req []byte, size int, _, _ time.Time) ([]byte, Outcome) {
	return k.AppendKiss(b, req, size)
}

// TestTwoServersDoNotFormAReplyLoop: a datagram with a spoofed source makes the first
// server's answer go to the second, which must not answer.
func TestTwoServersDoNotFormAReplyLoop(t *testing.T) {
	requests := [][]byte{nil, []byte("hi\n"), {0}, {0, 0, 0, 0}, make([]byte, 1400)}
	for _, w := range Words() {
		requests = append(requests, []byte(w), append([]byte(w), make([]byte, 400)...))
	}
	for version := uint8(1); version <= 4; version++ {
		requests = append(requests, client(version), append(client(version), make([]byte, 20)...))
	}
	pairs := 0
	for _, state := range []clock.State{{MaxError: time.Millisecond, TAI: 37, Leap: clock.LeapInsert}, {MaxError: 16 * time.Second}, {MaxError: time.Second, Leap: clock.LeapDelete}} {
		for _, now := range []time.Time{moment, time.Unix(0, 0), time.Date(2036, 2, 7, 6, 28, 15, 999999999, time.UTC), time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)} {
			f := &fake{now: now, state: state}
			for _, skew := range []time.Duration{0, -time.Hour, 40 * 365 * 24 * time.Hour} {
				g := &fake{now: now.Add(skew), state: state}
				others := dialects(t, g)
				for from, a := range dialects(t, f) {
					for to, b := range others {
						for _, req := range requests {
							answer, _ := a.AppendDatagram(nil, req, len(req), f.now, f.now)
							if len(answer) == 0 || IsAnswer(answer) {
								continue
							}
							// IsAnswer may miss a time whose bytes are text. Then
							// it must recognise the answer to that.
							back, _ := b.AppendDatagram(nil, answer, len(answer), g.now, g.now)
							if len(back) > 0 && (skew.Abs() <= time.Hour || !IsAnswer(back)) {
								t.Fatalf("%s answers %q with %q, and %s that with %q", from, req, answer, to, back)
							}
						}
						pairs++
					}
				}
			}
		}
	}
	if pairs != 3*4*3*20*20 {
		t.Errorf("%d pairs, want %d", pairs, 3*4*3*20*20)
	}
}

func TestDialectsAllocateNothing(t *testing.T) {
	c := clock.New(clock.Config{})
	buf := make([]byte, 0, MaxText)
	trusted := func(now time.Time) bool { return !c.Quality(now).Trusted(now, 0) }
	for name, d := range map[string]dialect{"daytime": NewDaytime(time.UTC, trusted), "time": NewTime(trusted)} {
		if n := testing.AllocsPerRun(1000, func() {
			b, _ := d.AppendDatagram(buf, nil, 0, c.Now(), c.Now())
			IsAnswer(b)
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkDialects(b *testing.B) {
	c := clock.New(clock.Config{})
	buf := make([]byte, 0, MaxText)
	for name, d := range map[string]dialect{"daytime": NewDaytime(time.UTC, nil), "time": NewTime(nil)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				now := c.Now()
				d.AppendDatagram(buf, nil, 0, now, now)
			}
		})
	}
}
