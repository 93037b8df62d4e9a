package clock

import (
	"errors"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestMeasurementNarrowsOrContradictsTheKernel(t *testing.T) {
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	noBound := State{MaxError: MaxErrorLimit}
	// The kernel's bound is half a millisecond above MaxError: its growth in the
	// current second.
	for name, c := range map[string]struct {
		state         State
		err           error
		offset, bound time.Duration
		from, to      time.Duration // of the interval
		synced        bool
		contradicted  bool
	}{
		"narrows both sides":      {State{MaxError: 100 * ms}, nil, 10 * ms, 5 * ms, 5 * ms, 15 * ms, true, false},
		"narrows one side":        {State{MaxError: 9500 * time.Microsecond}, nil, 8 * ms, 5 * ms, 3 * ms, 10 * ms, true, false},
		"is wider":                {State{MaxError: 9500 * time.Microsecond}, nil, 3 * ms, 50 * ms, -10 * ms, 10 * ms, true, false},
		"contradicts from above":  {State{MaxError: 9500 * time.Microsecond}, nil, 100 * ms, 5 * ms, -10 * ms, 105 * ms, false, true},
		"contradicts from below":  {State{MaxError: 9500 * time.Microsecond}, nil, -100 * ms, 5 * ms, -105 * ms, 10 * ms, false, true},
		"alone":                   {noBound, nil, -8 * ms, 5 * ms, -13 * ms, -3 * ms, true, false},
		"alone, without a kernel": {State{}, ErrUnsupported, 8 * ms, 5 * ms, 3 * ms, 13 * ms, true, false},
		"alone, and far off":      {noBound, nil, 17 * time.Second, 5 * ms, 17*time.Second - 5*ms, 17*time.Second + 5*ms, false, false},
		"beside a faulty kernel":  {State{MaxError: 9500 * time.Microsecond, Faulty: true}, nil, 8 * ms, 5 * ms, -10 * ms, 13 * ms, false, false},
		"faulty, without a bound": {State{MaxError: MaxErrorLimit, Faulty: true}, nil, 8 * ms, 5 * ms, 3 * ms, 13 * ms, false, false},
	} {
		f := &fake{now: at, state: c.state, err: c.err}
		k := f.clock()
		before := k.Quality(at)
		k.SetMeasurement(Measurement{At: at, Offset: c.offset, Bound: c.bound, Life: time.Minute})
		q := k.Quality(at)
		if q == before {
			t.Errorf("%s: SetMeasurement did not make a new Quality", name)
		}
		earliest, latest, ok := q.Bounds(at)
		if from, to := earliest.Sub(at), latest.Sub(at); !ok || !near(from, c.from) || !near(to, c.to) {
			t.Errorf("%s: from %v to %v, %v; want from %v to %v", name, from, to, ok, c.from, c.to)
		}
		if e, ok := q.Error(at); !ok || !near(e, max(-c.from, c.to)) {
			t.Errorf("%s: an error of %v, %v; want %v", name, e, ok, max(-c.from, c.to))
		}
		if q.Synced() != c.synced || q.Contradicted() != c.contradicted {
			t.Errorf("%s: synced %v, contradicted %v; want %v, %v", name, q.Synced(), q.Contradicted(), c.synced, c.contradicted)
		}
		if q.Trusted(at, 20*ms) != (c.synced && max(-c.from, c.to) <= 20*ms) {
			t.Errorf("%s: trusted is %v", name, q.Trusted(at, 20*ms))
		}
	}
}

// near reports whether two durations are equal up to rounding.
func near(a, b time.Duration) bool { return (a - b).Abs() <= time.Nanosecond }

func TestMeasurementGrowsAndGoesStale(t *testing.T) {
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	f := &fake{now: at, state: State{MaxError: MaxErrorLimit}}
	c := f.clock()
	c.SetMeasurement(Measurement{Server: "a", At: at, Bound: 5 * ms, Life: 8 * time.Minute})
	for _, x := range []struct{ age, want time.Duration }{{0, 5 * ms}, {time.Second, 5500 * time.Microsecond}, {100 * time.Second, 55 * ms}} {
		f.now = at.Add(x.age)
		if e, ok := c.Quality(f.now).Error(f.now); !ok || !near(e, x.want) || e < x.want {
			t.Errorf("after %v: %v, %v; want %v", x.age, e, ok, x.want)
		}
	}
	f.now = at.Add(8*time.Minute - 1)
	if m, ok := c.Quality(f.now).Upstream(); !ok || m.Server != "a" {
		t.Errorf("the measurement expired too early")
	}
	f.now = at.Add(8 * time.Minute)
	q := c.Quality(f.now.Add(refreshInterval))
	if _, ok := q.Upstream(); ok || q.Synced() {
		t.Error("the stale measurement still counts")
	}
	if _, ok := q.Error(f.now); ok {
		t.Error("the stale measurement still gives a bound")
	}
}

func TestStepInvalidatesTheMeasurement(t *testing.T) {
	wall, mono := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), time.Hour
	f := &fake{now: reading(wall, mono), state: State{MaxError: MaxErrorLimit}}
	c := f.clock()
	good := Measurement{At: f.now, Bound: ms, Life: time.Hour}
	c.SetMeasurement(good)
	if !c.Quality(f.now).Synced() {
		t.Fatal("the measurement does not count")
	}
	f.now = reading(wall.Add(20*ms), mono+ms)
	if _, ok := c.Quality(f.now).Upstream(); ok {
		t.Error("the measurement still counts after a step")
	}
	c.SetMeasurement(good)
	if _, ok := c.Quality(f.now).Upstream(); ok {
		t.Error("a measurement from before a step counts")
	}
	good.At = f.now
	c.SetMeasurement(good)
	if _, ok := c.Quality(f.now).Upstream(); !ok {
		t.Error("a measurement from after the step does not count")
	}
}

func TestFastSlewWidensTheMeasurement(t *testing.T) {
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	f := &fake{now: at, state: State{MaxError: MaxErrorLimit}}
	c := f.clock()
	var raw time.Duration
	c.raw = func() time.Duration { return raw }
	c.SetMeasurement(Measurement{At: at, Offset: 200 * ms, Bound: ms, Life: time.Minute})
	// The daemon slews the measured offset away within two seconds of the clock,
	// which are 1.8 s of the unsteered clock.
	f.now, raw = at.Add(2*time.Second), 1800*ms
	earliest, latest, ok := c.Quality(f.now).Bounds(f.now)
	if !ok || earliest.After(f.now) || latest.Before(f.now) {
		t.Errorf("from %v to %v, %v; want bounds that contain 0, because the clock is now right", earliest.Sub(f.now), latest.Sub(f.now), ok)
	}
}

func TestFloorIsAddedToEveryBound(t *testing.T) {
	at := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	f := &fake{now: at, state: State{MaxError: ms}}
	c := New(Config{Now: func() time.Time { return f.now }, Kernel: f, Floor: 10 * ms})
	if e, _ := c.Quality(at).Error(at); e != 11500*time.Microsecond {
		t.Errorf("error by the kernel: %v, want 11.5ms", e)
	}
	f.state, f.err = State{}, errors.New("no")
	c.SetMeasurement(Measurement{At: at, Bound: ms, Life: time.Hour})
	if e, _ := c.Quality(at).Error(at); !near(e, 11*ms) {
		t.Errorf("error by the measurement: %v, want 11ms", e)
	}
	f.state, f.err = State{}, nil
	c.SetMeasurement(Measurement{At: at, Offset: 20 * ms, Bound: ms, Life: time.Hour})
	if q := c.Quality(at); q.Contradicted() {
		t.Error("contradicted, though the bounds with their floors overlap")
	}
	c.SetMeasurement(Measurement{At: at, Offset: 22 * ms, Bound: ms, Life: time.Hour})
	if q := c.Quality(at); !q.Contradicted() {
		t.Error("not contradicted, though the bounds with their floors are disjoint")
	}
}

func TestSetMeasurementWhileOthersReadTheQuality(t *testing.T) {
	c := New(Config{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			c.SetMeasurement(Measurement{At: c.Now(), Bound: time.Second, Life: time.Minute})
		}
	}()
	for range 1000 {
		now := c.Now()
		q := c.Quality(now)
		if e, ok := q.Error(now); ok && e < 0 {
			t.Fatal("the error bound is negative")
		}
	}
	<-done
	if _, ok := c.Quality(c.Now()).Upstream(); !ok {
		t.Error("the last measurement does not count")
	}
}

func TestBoundsAllocateNothing(t *testing.T) {
	c := New(Config{})
	c.SetMeasurement(Measurement{At: c.Now(), Bound: time.Second, Life: time.Hour})
	if n := testing.AllocsPerRun(1000, func() {
		now := c.Now()
		c.Quality(now).Bounds(now)
	}); n > 0.01 { // a refresh allocates, once a second
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkBounds(b *testing.B) {
	c := New(Config{})
	now := c.Now()
	c.SetMeasurement(Measurement{At: now, Bound: time.Second, Life: time.Hour})
	q := c.Quality(now)
	b.ReportAllocs()
	for b.Loop() {
		q.Bounds(now)
	}
}
