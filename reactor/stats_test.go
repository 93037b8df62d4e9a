package reactor

import (
	"slices"
	"testing"
	"time"
)

func TestCountersArePublishedOnceATurn(t *testing.T) {
	l := newLoop(t, "auto")
	c := l.NewCounters(3)
	c.Add(0, 2)
	c.raise(1, 7)
	c.raise(1, 5)
	c.Set(2, 9)
	c.Set(2, 8)
	if c.Load(0) != 0 {
		t.Error("published before the turn")
	}
	if c.Current(0) != 2 || c.Current(1) != 7 || c.Current(2) != 8 {
		t.Errorf("current: %d %d %d, want 2 7 8", c.Current(0), c.Current(1), c.Current(2))
	}
	turnOnce(t, l)
	if c.Load(0) != 2 || c.Load(1) != 7 || c.Load(2) != 8 {
		t.Errorf("published: %d %d %d, want 2 7 8", c.Load(0), c.Load(1), c.Load(2))
	}
}

// The upper bound of a bucket is inclusive, like Prometheus' `le`.
func TestRunOfExactlyAnUpperBoundCountsInThatBucket(t *testing.T) {
	l := newLoop(t, "auto")
	if got := l.Stats().RunTimes[0].UpperBound; got != 4096*time.Nanosecond {
		t.Errorf("the first upper bound is %v, want 4.096µs", got)
	}
	for i, b := range l.Stats().RunTimes[:numBuckets-1] {
		for took, want := range map[time.Duration]int{b.UpperBound - 1: i, b.UpperBound: i, b.UpperBound + 1: i + 1} {
			if got := bucketOf(took); got != want {
				t.Errorf("%d ns is in bucket %d, want %d", took, got, want)
			}
		}
	}
	for took, want := range map[time.Duration]int{0: 0, 1: 0, 1<<63 - 1: numBuckets - 1} {
		if got := bucketOf(took); got != want {
			t.Errorf("%d ns counts in bucket %d, want %d", took, got, want)
		}
	}
}

func TestStatsCountRunsByTheirTime(t *testing.T) {
	c := new(fakeClock)
	l := newLoopWithClock(t, "auto", c.now)
	runs := []time.Duration{0, 4096, 4097, 3 * time.Millisecond, time.Hour}
	for _, d := range runs {
		l.After(0, func() { c.advance(d) })
	}
	a, b := pair(t)
	add(t, l, a, PollIn, &recorder{do: func(fd int, ev Events) {
		c.advance(time.Millisecond)
		if ev&PollIn != 0 {
			modify(t, l, fd, PollOut) // the call with PollOut belongs to the same run
		}
	}})
	write(t, b, "x")
	runUntil(t, l, func() bool { return c.now() >= time.Hour+5*time.Millisecond })
	l.publishCounters()
	s := l.Stats()
	want := make([]uint64, numBuckets)
	for _, d := range append(runs, 2*time.Millisecond) {
		want[bucketOf(d)]++
	}
	got := make([]uint64, numBuckets)
	for i, b := range s.RunTimes {
		got[i] = b.Count
	}
	if !slices.Equal(got, want) {
		t.Errorf("counted %d, want %d", got, want)
	}
	if s.LongestRun != time.Hour || s.TotalRunTime != c.now() {
		t.Errorf("longest %v, total %v; want 1h and %v", s.LongestRun, s.TotalRunTime, c.now())
	}
}

func TestEventsHaveTheirNames(t *testing.T) {
	for ev, want := range map[Events]string{0: "0", PollIn | PollHup: "IN|HUP", Edge | PollOut: "OUT|EDGE", PollNval: "NVAL"} {
		if got := ev.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint32(ev), got, want)
		}
	}
}
