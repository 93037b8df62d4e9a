package clockbound

import (
	"errors"
	"math"
	"testing"
	"time"
)

func TestStatusFollowsTheAgeOfTheSnapshot(t *testing.T) {
	const asOf = 100 * time.Second
	real := time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)
	for _, c := range []struct {
		written Status
		age     time.Duration
		want    Status
		err     error
	}{
		{Synchronized, 0, Synchronized, nil},
		{Synchronized, -time.Microsecond, Synchronized, nil},
		{Synchronized, -time.Microsecond - 1, Unknown, ErrExpired},
		{Synchronized, grace - 1, Synchronized, nil},
		{Synchronized, grace, FreeRunning, nil},
		{Synchronized, time.Minute - 1, FreeRunning, nil},
		{Synchronized, time.Minute, Unknown, ErrExpired},
		{FreeRunning, 0, FreeRunning, nil},
		{FreeRunning, time.Hour, Unknown, ErrExpired},
		{Unknown, 0, Unknown, nil},
		{Unknown, time.Hour, Unknown, nil},
		{Disrupted, 0, Disrupted, nil},
		{Disrupted, time.Hour, Disrupted, nil},
		{4, 0, Unknown, ErrNoSegment},
		{-1, 0, Unknown, ErrNoSegment},
	} {
		s := &Snapshot{AsOf: asOf, VoidAfter: asOf + time.Minute, Bound: time.Millisecond, MaxDrift: 500_000, Status: c.written}
		got, err := s.At(real, asOf+c.age)
		if got.Status != c.want || !errors.Is(err, c.err) {
			t.Errorf("%v, %v old: %v, %v; want %v, %v", c.written, c.age, got.Status, err, c.want, c.err)
		}
		if certain := got.After(real.AddDate(-100, 0, 0)) || got.Before(real.AddDate(100, 0, 0)); certain != c.want.Bounded() {
			t.Errorf("%v, %v old: from %v to %v", c.written, c.age, got.Earliest, got.Latest)
		}
	}
}

func TestBoundGrowsByTheDriftAndIsRoundedUp(t *testing.T) {
	real := time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)
	for _, c := range []struct {
		age, want time.Duration
	}{
		{0, time.Millisecond + 1},
		{1, time.Millisecond + 1},
		{2001, time.Millisecond + 2},
		{time.Second, 1500*time.Microsecond + 1},
		{999 * time.Second, 500500*time.Microsecond + 1},
	} {
		s := &Snapshot{VoidAfter: time.Hour, Bound: time.Millisecond, MaxDrift: 500_000, Status: Synchronized}
		got, err := s.At(real, c.age)
		if err != nil || got.Latest.Sub(real) != c.want || real.Sub(got.Earliest) != c.want {
			t.Errorf("after %v: from %v to %v, %v; want ±%v", c.age, got.Earliest.Sub(real), got.Latest.Sub(real), err, c.want)
		}
	}
}

func TestInvalidSnapshotIsUnbounded(t *testing.T) {
	good := Snapshot{VoidAfter: math.MaxInt64, Bound: 1, MaxDrift: 500_000, Status: Synchronized}
	for name, spoil := range map[string]func(*Snapshot){
		"a drift of 1 s per s":   func(s *Snapshot) { s.MaxDrift = 1e9 },
		"a negative bound":       func(s *Snapshot) { s.Bound = -1 },
		"a bound that overflows": func(s *Snapshot) { s.Bound = math.MaxInt64 },
	} {
		s := good
		spoil(&s)
		if got, err := s.At(time.Now(), time.Hour); !errors.Is(err, ErrNoSegment) || got != anyTime(Unknown) {
			t.Errorf("%s: %+v, %v; want ErrNoSegment and all of time", name, got, err)
		}
	}
}

func TestTimeThatDoesNotFitIsCut(t *testing.T) {
	for _, c := range []struct {
		in   timespec
		want time.Duration
	}{
		{timespec{math.MaxInt64, 0}, math.MaxInt64},
		{timespec{math.MinInt64, 0}, -math.MaxInt64},
		{timespec{5, 6}, 5*time.Second + 6},
	} {
		if got := c.in.duration(); got != c.want {
			t.Errorf("%+v: %d, want %d", c.in, got, c.want)
		}
	}
}

func TestIntervalIsCertainOnlyOutside(t *testing.T) {
	at := time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)
	i := Interval{at, at.Add(time.Second), Synchronized}
	for _, c := range []struct {
		t             time.Time
		before, after bool
	}{
		{at.Add(-1), false, true},
		{at, false, false},
		{at.Add(time.Second), false, false},
		{at.Add(time.Second + 1), true, false},
	} {
		if i.Before(c.t) != c.before || i.After(c.t) != c.after {
			t.Errorf("%v: before %v, after %v; want %v, %v", c.t, i.Before(c.t), i.After(c.t), c.before, c.after)
		}
	}
}

func TestStatusHasAName(t *testing.T) {
	for s, want := range map[Status]string{Unknown: "unknown", Synchronized: "synchronized", FreeRunning: "free running", Disrupted: "disrupted", 4: "invalid", -1: "invalid"} {
		if got := s.String(); got != want {
			t.Errorf("status %d: %q, want %q", s, got, want)
		}
	}
}
