package clock

import (
	"testing"
	"time"
)

// stepped is a Clock whose wall clock and monotonic clock the test sets.
type stepped struct {
	*Clock
	wall  time.Time
	mono  time.Duration
	state State
	seen  []*Quality // observed
}

func newStepped() *stepped {
	s := &stepped{wall: time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), mono: time.Hour}
	s.state.MaxError = time.Millisecond
	s.Clock = New(Config{
		Now:     func() time.Time { return reading(s.wall, s.mono) },
		Kernel:  s,
		Observe: func(q *Quality) { s.seen = append(s.seen, q) },
	})
	s.Refresh()
	return s
}

func (s *stepped) State() (State, error) { return s.state, nil }

// pass lets time pass. The kernel's maximum error grows.
func (s *stepped) pass(d time.Duration) {
	s.wall, s.mono = s.wall.Add(d), s.mono+d
	s.state.MaxError = min(s.state.MaxError+DriftOver(d), MaxErrorLimit)
}

// set sets the time forward, like clock_settime(2).
func (s *stepped) set(by time.Duration) {
	s.wall = s.wall.Add(by)
	s.state.MaxError = MaxErrorLimit
}

func TestAnnouncedStepOfAnySizeIsCounted(t *testing.T) {
	for _, size := range []time.Duration{0, time.Nanosecond, -time.Millisecond, time.Second, -10 * 365 * 24 * time.Hour} {
		s := newStepped()
		s.pass(time.Minute)
		s.set(size)
		s.Stepped()
		q := s.last.Load()
		if s.Steps() != 1 || q.Steps != 1 || q.LastStep != size || !q.Disrupted() || !q.At.Equal(s.wall) {
			t.Errorf("%v: %d steps, the last of %v, disrupted %v; want 1, disrupted", size, q.Steps, q.LastStep, q.Disrupted())
		}
		if n := len(s.seen); n != 2 || s.seen[n-1] != q {
			t.Errorf("%v: observed %d times, want 2", size, n)
		}
	}
}

func TestStepThatIsFoundAndAnnouncedCountsOnce(t *testing.T) {
	s := newStepped()
	s.pass(time.Minute)
	s.set(time.Hour)
	s.Quality(s.Now()) // another loop refreshes first
	s.pass(time.Millisecond)
	s.Stepped()
	if n := s.Steps(); n != 1 {
		t.Errorf("found, then announced: %d steps, want 1", n)
	}
	s.pass(time.Millisecond)
	s.Stepped()
	if n := s.Steps(); n != 2 {
		t.Errorf("announced again: %d steps, want 2", n)
	}
	s.pass(time.Second)
	s.set(time.Hour)
	s.Stepped()
	s.Quality(s.Now())
	if n := s.Steps(); n != 3 {
		t.Errorf("announced, then compared: %d steps, want 3", n)
	}

	s.pass(time.Minute)
	s.set(time.Hour) // without an announcement, as when a virtual machine is restored
	s.Refresh()
	s.pass(time.Minute)
	s.set(0)
	s.Stepped()
	if n := s.Steps(); n != 5 {
		t.Errorf("one found, and one announced a minute later: %d steps, want 5", n)
	}
	s.pass(time.Minute)
	s.set(time.Hour)
	s.Refresh()
	s.set(time.Hour)
	s.Stepped()
	if n := s.Steps(); n != 7 {
		t.Errorf("one found, and another announced: %d steps, want 7", n)
	}
}

func TestClockIsDisruptedUntilItIsConfirmed(t *testing.T) {
	for name, c := range map[string]struct {
		step func(*stepped)
		then func(*stepped)
		want bool // disrupted
	}{
		"not confirmed":                    {(*stepped).settime, func(s *stepped) {}, true},
		"a new bound":                      {(*stepped).settime, func(s *stepped) { s.state.MaxError = 2 * time.Millisecond }, false},
		"a leap second, not confirmed":     {(*stepped).leap, func(s *stepped) {}, true},
		"a leap second, a smaller bound":   {(*stepped).leap, func(s *stepped) { s.state.MaxError = 0 }, false},
		"a leap second, a larger bound":    {(*stepped).leap, func(s *stepped) { s.state.MaxError = time.Second }, false},
		"an upstream agrees":               {(*stepped).settime, func(s *stepped) { s.SetMeasurement(s.compared(0)) }, false},
		"a leap second, upstream agrees":   {(*stepped).leap, func(s *stepped) { s.SetMeasurement(s.compared(0)) }, false},
		"a leap second, upstream does not": {(*stepped).leap, func(s *stepped) { s.SetMeasurement(s.compared(time.Second)) }, true},
		"a measurement from before the step": {(*stepped).settime, func(s *stepped) {
			m := s.compared(0)
			s.pass(time.Millisecond)
			s.set(0)
			s.Stepped()
			s.SetMeasurement(m)
		}, true},
	} {
		s := newStepped()
		s.pass(time.Second)
		s.Refresh()
		s.pass(time.Second)
		c.step(s)
		s.Stepped()
		if !s.last.Load().Disrupted() {
			t.Errorf("%s: not disrupted after the step", name)
		}
		for range 3 {
			s.pass(700 * time.Millisecond)
			s.Refresh()
		}
		if !s.last.Load().Disrupted() {
			t.Errorf("%s: not disrupted two seconds later", name)
		}
		c.then(s)
		s.pass(time.Second)
		if got := s.Refresh().Disrupted(); got != c.want {
			t.Errorf("%s: disrupted %v, want %v", name, got, c.want)
		}
	}
}

func (s *stepped) settime() { s.set(time.Minute) }
func (s *stepped) leap()    { s.wall = s.wall.Add(-time.Second) }

// compared returns a measurement of a server whose clock is ahead by some time.
func (s *stepped) compared(by time.Duration) Measurement {
	return Measurement{At: s.Now(), Offset: by, Bound: time.Millisecond, Life: time.Hour}
}

func TestBoundWrittenRightAfterTheStepConfirmsTheClock(t *testing.T) {
	s := newStepped()
	s.pass(time.Second)
	s.Refresh()
	s.pass(time.Second)
	s.set(time.Minute)
	s.state.MaxError = 300 * time.Microsecond // before the announcement is handled
	s.Stepped()
	if s.last.Load().Disrupted() {
		t.Error("disrupted, though the bound is from after the step")
	}
}

func TestInitialDisruptionLastsUntilTheClockIsConfirmed(t *testing.T) {
	s := newStepped()
	s.Clock = New(Config{Now: s.now, Kernel: s, Disrupted: true})
	for range 3 {
		if !s.Refresh().Disrupted() {
			t.Error("not disrupted before the clock is confirmed")
		}
		s.pass(time.Second)
	}
	s.state.MaxError = 0
	if s.Refresh().Disrupted() {
		t.Error("still disrupted after a new bound")
	}
}

func TestShortAnnouncedStepEndsTheMeasurement(t *testing.T) {
	s := newStepped()
	s.SetMeasurement(s.compared(0))
	s.pass(time.Second)
	s.wall = s.wall.Add(time.Millisecond)
	if _, ok := s.Refresh().Upstream(); !ok {
		t.Error("the measurement ended without an announcement")
	}
	s.Stepped()
	if _, ok := s.last.Load().Upstream(); ok {
		t.Error("the measurement still counts after an announced step")
	}
}
