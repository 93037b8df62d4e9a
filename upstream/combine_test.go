package upstream

import (
	"math/rand/v2"
	"testing"
	"time"

	"nowd/clock"
	"nowd/ntp"
)

// at returns a measurement whose interval is from from to to.
func at(from, to time.Duration) *clock.Measurement {
	return &clock.Measurement{Offset: (from + to) / 2, Bound: (to - from) / 2}
}

func TestMajorityAgreesOnItsOverlap(t *testing.T) {
	for name, c := range map[string]struct {
		samples  []*clock.Measurement
		from, to time.Duration
		none     bool
	}{
		"none":                   {nil, 0, 0, true},
		"one":                    {[]*clock.Measurement{at(-10, 20)}, -10, 20, false},
		"two":                    {[]*clock.Measurement{at(-10, 20), at(10, 40)}, 10, 20, false},
		"two that touch":         {[]*clock.Measurement{at(-10, 20), at(20, 40)}, 20, 20, false},
		"two apart":              {[]*clock.Measurement{at(-10, 20), at(22, 40)}, 0, 0, true},
		"one within another":     {[]*clock.Measurement{at(-10, 20), at(0, 2)}, 0, 2, false},
		"two of three":           {[]*clock.Measurement{at(100, 200), at(0, 20), at(10, 40)}, 10, 20, false},
		"two of four":            {[]*clock.Measurement{at(100, 200), at(0, 20), at(10, 40), at(300, 400)}, 0, 0, true},
		"two pairs of three":     {[]*clock.Measurement{at(0, 100), at(-10, 10), at(90, 110)}, 0, 100, false},
		"all of three":           {[]*clock.Measurement{at(0, 100), at(-10, 60), at(50, 110)}, 50, 60, false},
		"the same, three times":  {[]*clock.Measurement{at(-4, 4), at(-4, 4), at(-4, 4)}, -4, 4, false},
		"three of five, at ends": {[]*clock.Measurement{at(0, 10), at(10, 20), at(10, 12), at(30, 40), at(-30, -20)}, 10, 10, false},
	} {
		m := combine(c.samples, len(c.samples))
		if (m == nil) != c.none {
			t.Errorf("%s: %+v", name, m)
		}
		if m != nil && (m.Offset-m.Bound != c.from || m.Offset+m.Bound < c.to || m.Offset+m.Bound > c.to+1) {
			t.Errorf("%s: %v ± %v, want from %v to %v", name, m.Offset, m.Bound, c.from, c.to)
		}
	}
}

// containing returns the number of samples whose interval contains d.
func containing(samples []*clock.Measurement, d time.Duration) (n int) {
	for _, s := range samples {
		if !s.Interval().Disjoint(clock.Around(d, 0)) {
			n++
		}
	}
	return n
}

func TestResultContainsTheTruthIfTheMajorityIsRight(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	majorities, misled := 0, 0
	for range 100000 {
		n := 1 + rng.IntN(7)
		right := 1 + rng.IntN(n)
		samples := make([]*clock.Measurement, n)
		for i := range samples {
			bound := time.Duration(rng.Int64N(int64(100 * time.Millisecond)))
			off := time.Duration(rng.Int64N(int64(2*bound)+1)) - bound
			if i >= right {
				off = time.Duration(rng.Int64N(int64(time.Second))) - 500*time.Millisecond
			}
			samples[i] = &clock.Measurement{Offset: off, Bound: bound}
		}
		rng.Shuffle(n, func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
		most := 0 // the maximum is reached at the beginning of some interval
		for _, s := range samples {
			most = max(most, containing(samples, s.Interval().Low))
		}
		m := combine(samples, len(samples))
		if (m != nil) != (2*most > n) {
			t.Fatalf("%d of %d agree; the result is %+v", most, n, m)
		}
		if m == nil {
			continue
		}
		majorities++
		// Wrong samples together with some right ones may be the majority elsewhere.
		if containing(samples, 0) < most {
			misled++
		} else if m.Offset.Abs() > m.Bound {
			t.Fatalf("%d of %d are right, but the result is %v ± %v", most, n, m.Offset, m.Bound)
		}
	}
	if majorities < 50000 || misled > 10000 {
		t.Errorf("%d majorities, %d of them misled", majorities, misled)
	}
}

// TestSilentServersCount: a server must not decide alone while the others are blocked.
func TestSilentServersCount(t *testing.T) {
	for _, c := range []struct {
		samples []*clock.Measurement
		of      int
		none    bool
	}{
		{[]*clock.Measurement{at(0, 10)}, 1, false},
		{[]*clock.Measurement{at(0, 10)}, 2, true},
		{[]*clock.Measurement{at(0, 10)}, 3, true},
		{[]*clock.Measurement{at(0, 10), at(5, 15)}, 3, false},
		{nil, 3, true},
	} {
		if m := combine(c.samples, c.of); (m == nil) != c.none {
			t.Errorf("%d answers from %d servers: %+v", len(c.samples), c.of, m)
		}
	}
}

func TestBoundsOfOlderSamplesGrow(t *testing.T) {
	now := time.Now()
	old, last := at(-1000, 1000), at(-1000, 1000)
	old.At, last.At = now, now.Add(2*time.Second)
	m := combine([]*clock.Measurement{old, last}, 2)
	if old.Bound != time.Millisecond+1000 || m.Bound != 1000 || !m.At.Equal(last.At) {
		t.Errorf("aged bound %v, combined %+v", old.Bound, m)
	}
}

func TestBoundCoversAllErrors(t *testing.T) {
	now := time.Now()
	r := &ntp.Response{
		Offset: time.Millisecond, Delay: 10 * time.Millisecond, RootDelay: 4 * time.Millisecond, RootDispersion: 3 * time.Millisecond,
		Precision: 2 * time.Microsecond, Stratum: 2, Leap: ntp.LeapInsert,
		Sent: now, Received: now.Add(10 * time.Millisecond),
	}
	m := measurement(r)
	if want := 10*time.Millisecond + 2*time.Microsecond + 5*time.Microsecond + time.Microsecond; m.Bound != want {
		t.Errorf("bound %v, want %v", m.Bound, want)
	}
	if m.Offset != time.Millisecond || m.RootDelay != 14*time.Millisecond || m.Leap != clock.LeapInsert || m.Stratum != 2 || !m.At.Equal(now.Add(10*time.Millisecond)) {
		t.Errorf("%+v", m)
	}
}
