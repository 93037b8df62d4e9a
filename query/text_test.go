package query

import (
	"math"
	"testing"
	"time"
)

var moment = time.Date(2026, 11, 21, 1, 17, 42, 813729123, time.UTC)

func TestEachPreciseFormIsUnderstood(t *testing.T) {
	for text, precision := range map[string]time.Duration{
		"2026-11-21T01:17:42.813729123Z":                   1,
		"2026-11-21T02:17:42.813729123+01:00":              1,
		"2026-11-21T01:17:42.8Z":                           100 * time.Millisecond,
		"2026-11-21T01:17:42Z":                             time.Second,
		"1795223862":                                       time.Second,
		"1795223862813":                                    time.Millisecond,
		"1795223862813729":                                 time.Microsecond,
		"1795223862813729123":                              1,
		`{"unix_ns":1795223862813729123}`:                  1,
		"1795223862.812729123 1795223862.814729123 synced": 1,
	} {
		reading := parseText(text)
		if reading.Precision != precision || !reading.Time.Equal(moment.Truncate(precision)) {
			t.Errorf("%s: %v, to %v", text, reading.Time, reading.Precision)
		}
	}
	for _, text := range []string{"", "179522386", "2026-11-21 01:17:42.813729", "what?", "{}", "{", `{"unix_ns":null}`, "- - unsynced",
		"1795223862.814729123 1795223862.812729123 synced", "1 2 synced"} {
		if reading := parseText(text); !reading.Time.IsZero() || reading.HasBound {
			t.Errorf("%s: %+v", text, reading)
		}
	}
}

func TestBoundIsRead(t *testing.T) {
	for text, want := range map[string]Reading{
		"1795223862.812729123 1795223862.814729123 synced":   {Sync: Synced, HasBound: true, Bound: time.Millisecond},
		"1795223862.812729123 1795223862.814729124 unsynced": {Sync: Unsynced, HasBound: true, Bound: time.Millisecond + 1},
		"- - unsynced":   {Sync: Unsynced},
		"half past nine": {},
		`{"unix_ns":10,"earliest_unix_ns":7,"latest_unix_ns":14,"status":"synced","leap":"insert"}`:       {Sync: Synced, HasBound: true, Bound: 4, Leap: "insert"},
		`{"unix_ns":10,"earliest_unix_ns":null,"latest_unix_ns":null,"status":"unsynced","leap":"maybe"}`: {Sync: Unsynced},
		`{"unix_ns":10,"earliest_unix_ns":11,"latest_unix_ns":14,"status":"synced"}`:                      {Sync: Synced},
	} {
		got := parseText(text)
		got.Time, got.Precision = time.Time{}, 0
		if got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

func TestOffsetIsFromTheMiddleOfTheRoundTrip(t *testing.T) {
	sent := moment.Add(-2500 * time.Millisecond)
	for text, want := range map[string]string{
		"2026-11-21T01:17:42.813729123Z":  "2026-11-21T01:17:42.813729123Z  round trip 1s  offset +2.000000s ±0.500000s",
		"1795223862813":                   "2026-11-21T01:17:42.813Z  round trip 1s  offset +1.999771s ±0.500500s",
		"1795223862":                      "2026-11-21T01:17:42Z  round trip 1s  offset +1.686271s ±1.000000s",
		"- - unsynced":                    "- - unsynced  round trip 1s  bound - unsynced",
		`{"unix_ns":1795223862813729123}`: "2026-11-21T01:17:42.813729123Z  round trip 1s  offset +2.000000s ±0.500000s",
		"1795223862.812729123 1795223862.814729123 synced": "2026-11-21T01:17:42.813729123Z  round trip 1s  offset +2.000000s ±0.500000s  bound ±0.001000s synced",
		"\x1b]0;x\x07": `"\x1b]0;x\a"  round trip 1s`,
	} {
		a := newAnswer(text, parseText(text), sent, sent.Add(time.Second))
		if got := a.line(false); got != want {
			t.Errorf("%s:\n%s, want\n%s", text, got, want)
		}
	}
}

func TestTimeOfRFC868IsTheNearestToNow(t *testing.T) {
	wrap := time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)
	for _, now := range []time.Time{moment, wrap, wrap.Add(-time.Second), wrap.Add(100 * 365 * 24 * time.Hour)} {
		for _, shift := range []time.Duration{0, time.Second, -time.Second, -60 * 365 * 24 * time.Hour, 60 * 365 * 24 * time.Hour} {
			want := now.Add(shift).Truncate(time.Second)
			if got := parseTime([4]byte(since1900(want)), now); !got.Time.Equal(want) || got.Precision != time.Second {
				t.Errorf("at %v, of %v: %v", now, want, got.Time)
			}
		}
	}
}

func TestDaytimesWithAKnownZoneAreUnderstood(t *testing.T) {
	for _, text := range []string{
		"Saturday, November 21, 2026 01:17:42-UTC",
		"Saturday, November 21, 2026 02:17:42+01:00",
		"Sat, 21 Nov 2026 01:17:42 GMT",
		"Sat, 21 Nov 2026 03:17:42 +0200",
		"2026-11-21 01:17:42 UTC",
		"2026-11-21 01:17:42 +00:00",
		"2026-11-20 19:47:42 -05:30",
		"2026-11-21T01:17:42Z",
		"Sat Nov 21 01:17:42 UTC 2026",
		"61365 26-11-21 01:17:42 00 0 0 613.1 UTC(NIST) *",
	} {
		if reading := parseDaytime(text); !reading.Time.Equal(moment.Truncate(time.Second)) || reading.Precision != time.Second {
			t.Errorf("%s: %v, to %v", text, reading.Time, reading.Precision)
		}
	}
	for _, text := range []string{
		"", "noon", "Sat Nov 21 01:17:42 2026", "Saturday, November 21, 2026 01:17:42-PST", "Sat Nov 21 01:17:42 CET 2026",
		"61365 26-11-21 01:17:42 00 0 0 613.1 LOCAL *", "61365 x y 00 0 0 613.1 UTC(NIST) *",
	} {
		if reading := parseDaytime(text); reading != (Reading{}) {
			t.Errorf("%s: %v", text, reading.Time)
		}
	}
}

// Whatever the answer is, the arithmetic with its time does not overflow.
func FuzzTextArithmetic(f *testing.F) {
	for _, text := range []string{
		jsonAnswer(0), "1795223862.812729123 1795223862.814729123 synced", "1795223862813", "2026-11-21T01:17:42Z",
		"-9223372036.854775808 9223372036.854775807 synced", "0000-01-01T00:00:00Z",
		"Saturday, November 21, 2026 01:17:42-UTC",
		`{"unix_ns":-9223372036854775808,"earliest_unix_ns":-9223372036854775808,"latest_unix_ns":9223372036854775807}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, reading := range []Reading{parseText(text), parseDaytime(text)} {
			a := newAnswer(text, reading, moment, moment.Add(time.Second))
			interval, ok := a.Interval()
			if ok && (interval.Low > interval.High || a.Error <= 0 || a.HasBound && a.Bound < 0) {
				t.Errorf("%q: %+v, %v", text, a, interval)
			}
			results := []Result{{&Host{Name: "a"}, a, nil}, {&Host{Name: "b"}, Answer{Reading: Reading{Time: moment}, Offset: -math.MaxInt64}, nil}}
			ahead, _ := offsetBetween(results[0], results[1])
			back, _ := offsetBetween(results[1], results[0])
			if ahead != -back {
				t.Errorf("%q: ahead %v, and back %v", text, ahead, back)
			}
		}
	})
}
