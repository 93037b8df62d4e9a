package ntp

import (
	"math"
	"testing"
	"time"
)

func TestTimeHasEras(t *testing.T) {
	for _, c := range []struct {
		at   time.Time
		want Time
	}{
		{time.Date(1900, 1, 1, 0, 0, 1, 0, time.UTC), 1 << 32},
		{time.Unix(0, 0), 2208988800 << 32},
		{time.Unix(0, 500000000), 2208988800<<32 | 1<<31},
		{time.Date(2036, 2, 7, 6, 28, 15, 999999999, time.UTC), 0xfffffffffffffffb},
		{time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC), 1}, // zero would be no time
		{time.Date(2036, 2, 7, 6, 28, 17, 0, time.UTC), 1 << 32},
		{time.Date(1899, 12, 31, 23, 59, 59, 0, time.UTC), 0xffffffff << 32},
	} {
		got := TimeOf(c.at)
		if got != c.want {
			t.Errorf("%v: %#x, want %#x", c.at, got, c.want)
		}
		if seconds := SecondsOf(c.at); seconds != Seconds(got>>32) {
			t.Errorf("%v: Seconds %d differ from the timestamp %#x", c.at, seconds, got)
		}
		for _, away := range []time.Duration{0, 67 * 365 * 24 * time.Hour, -67 * 365 * 24 * time.Hour} {
			known := c.at.Add(away)
			if back := got.Near(known); !back.Equal(c.at) {
				t.Errorf("%v is %v, seen from %v away", c.at, back, away)
			}
			if back := SecondsOf(c.at).Near(known); !back.Equal(c.at.Truncate(time.Second)) {
				t.Errorf("%v is the second %v, seen from %v away", c.at, back, away)
			}
		}
	}
}

func TestSecondsWrapAfterAnEra(t *testing.T) {
	begin := time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	if end := begin.Add(Era); SecondsOf(begin) != 0 || SecondsOf(end) != 0 || SecondsOf(end.Add(-1)) != math.MaxUint32 {
		t.Errorf("Seconds do not wrap from %v to %v", begin, end)
	}
}

func TestShortIsRoundedUp(t *testing.T) {
	for d, want := range map[time.Duration]Short{
		-1: 0, 0: 0, 1: 1, time.Second >> 16: 1, time.Second>>16 + 1: 2, time.Second: 1 << 16, time.Second + 1: 1<<16 + 1,
		16 * time.Second: 16 << 16, 1<<16*time.Second - 1: math.MaxUint32, 1 << 16 * time.Second: math.MaxUint32, math.MaxInt64: math.MaxUint32,
	} {
		if got := ShortOf(d); got != want {
			t.Errorf("%v: %d, want %d", d, got, want)
		}
	}
}

func TestDurationOfAShortIsRoundedDown(t *testing.T) {
	for s, want := range map[Short]time.Duration{
		0: 0, 1: 15258, 3: 45776, 1 << 16: time.Second, math.MaxUint32: 1<<16*time.Second - 15259,
	} {
		if got := s.Duration(); got != want {
			t.Errorf("%d: %v, want %v", s, got, want)
		}
	}
}

func FuzzTime(f *testing.F) {
	f.Add(int64(2085978496), int64(0), int64(0))
	f.Add(int64(-2208988800), int64(999999999), int64(-1<<31+1))
	f.Fuzz(func(t *testing.T, sec, nsec, away int64) {
		sec, nsec, away = sec%(1<<40), min(max(nsec, -nsec)%1e9, 999999999), away%(1<<31)
		at := time.Unix(sec, max(0, nsec))
		got := TimeOf(at).Near(at.Add(time.Duration(away) * time.Second))
		if d := got.Sub(at); d < 0 || d > 1 { // 1 ns late: TimeOf never returns zero
			t.Fatalf("%v became %v", at, got)
		}
	})
}
