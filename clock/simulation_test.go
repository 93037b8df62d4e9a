package clock

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"nowd/clockbound"
)

// world is a clock, the oscillator that drives it, a daemon that steers it and
// the true time. The true time is what passes; all else follows from it.
type world struct {
	rng *rand.Rand

	passed  time.Duration // of true time
	drift   time.Duration // of the clock, in ns a second, but for what is slewed
	wander  time.Duration // of the oscillator, likewise
	ahead   time.Duration // of the clock, but for drift
	stepped time.Duration // what of that the monotonic clock has not seen
	offset  time.Duration // what the kernel is still to slew
	rate    time.Duration // how fast it does so, in ns a second

	maxError time.Duration // what the daemon wrote
	wrote    time.Duration // and when
	told     bool          // whether anybody told the kernel anything
}

var start = time.Date(2036, 2, 7, 6, 28, 0, 0, time.UTC)

func newWorld(rng *rand.Rand) *world {
	w := &world{rng: rng}
	w.drift, w.wander = w.some(500*time.Microsecond), w.some(500*time.Microsecond)
	w.rate = w.upTo(80 * time.Millisecond)
	w.disciplined()
	return w
}

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d) + 1)) }
func (w *world) some(d time.Duration) time.Duration { return 2*w.upTo(d) - d }

// disciplined has the daemon compare the clock with the true time and write
// down what it found. Its offset is right to within the error that it claims.
func (w *world) disciplined() {
	w.told = w.rng.IntN(8) != 0
	w.maxError, w.wrote = w.upTo([...]time.Duration{50 * time.Microsecond, 5 * ms, time.Second}[w.rng.IntN(3)]), w.passed
	if !w.told {
		w.offset = 0
		return
	}
	w.offset = w.some([...]time.Duration{0, ms, 400 * ms}[w.rng.IntN(3)])
	w.ahead += w.some(w.maxError) - w.offset - w.error()
}

// error is how far the clock is ahead of the true time.
func (w *world) error() time.Duration { return w.ahead + gone(w.passed, w.drift) }

// gone is what a clock with that drift has got ahead by.
func gone(t, drift time.Duration) time.Duration {
	return time.Duration(float64(t) * float64(drift) / float64(time.Second))
}

// pass lets true time pass, in which the kernel slews.
func (w *world) pass(t time.Duration) {
	w.passed += t
	slew := min(gone(t, w.rate), w.offset.Abs())
	if w.offset < 0 {
		slew = -slew
	}
	w.offset -= slew
	w.ahead += slew
}

func (w *world) step(by time.Duration) {
	w.ahead += by
	w.stepped += by
}

// now reads the clock.
func (w *world) now() time.Time {
	elapsed := w.passed + w.error()
	return reading(start.Add(elapsed), w.mono())
}

// mono reads the monotonic clock.
func (w *world) mono() time.Duration { return time.Hour + w.passed + w.error() - w.stepped }

func (w *world) raw() time.Duration { return w.passed + gone(w.passed, w.wander) }

// State is what the kernel says: what the daemon wrote, and 500 µs for each
// second since that is over.
func (w *world) State() (State, error) {
	if !w.told {
		return State{MaxError: MaxErrorLimit}, nil
	}
	return State{MaxError: w.maxError + (w.passed-w.wrote)/time.Second*500*time.Microsecond, Offset: w.offset}, nil
}

// measure asks a time server, whose answer is right to within what it says, or
// wrong by an hour.
func (w *world) measure(wrong bool) Measurement {
	bound := w.upTo(100 * ms)
	m := Measurement{At: w.now(), Offset: w.some(bound) - w.error(), Bound: bound, Life: time.Hour}
	if wrong {
		m.Offset += time.Hour
	}
	return m
}

func TestBoundsContainTheTrueTime(t *testing.T) {
	rng := rand.New(rand.NewPCG(5905, 2036))
	var known, narrowed, contradicted, unseen int
	for i := range states {
		w := newWorld(rng)
		c := &Clock{now: w.now, kernel: w, raw: w.raw, start: w.now()}
		w.pass(w.upTo(time.Minute))
		kind := rng.IntN(4) // of comparisons with a server
		if kind == 1 {
			c.SetMeasurement(w.measure(false))
			w.pass(w.upTo(time.Minute))
		}
		c.Quality(w.now())
		switch kind {
		case 2:
			c.SetMeasurement(w.measure(false))
		case 3:
			c.SetMeasurement(w.measure(true))
		}
		old := c.Quality(w.now())
		claimed, _ := w.State()
		w.pass(w.upTo([...]time.Duration{ms, time.Second, 10 * time.Second}[rng.IntN(3)]))
		if rng.IntN(4) == 0 {
			w.step(w.some([...]time.Duration{ms, 15 * ms, time.Minute, 1000 * time.Hour}[rng.IntN(4)]))
			if w.told {
				w.told = false // as the kernel does when the time is set
				if rng.IntN(2) == 0 {
					w.disciplinedAsIs()
				}
			}
		}
		now := w.now()
		truth := now.Add(-w.error())
		fresh := c.Quality(now)
		for _, q := range []*Quality{old, fresh} {
			earliest, latest, ok := q.Bounds(now)
			if !ok || kind == 3 && !q.kernelClaims() { // only the wrong server says anything
				continue
			}
			known++
			if truth.Round(0).Before(earliest.Round(0)) || truth.Round(0).After(latest.Round(0)) {
				t.Fatalf("state %d: the true time is %v off, said to be from %v to %v\n%+v\n%+v", i, -w.error(), earliest.Sub(now), latest.Sub(now), w, q)
			}
			e, _ := q.Error(now)
			if e < now.Sub(earliest) || e < latest.Sub(now) {
				t.Fatalf("state %d: an error of %v, but from %v to %v", i, e, earliest.Sub(now), latest.Sub(now))
			}
			if q == fresh && q != old {
				continue
			}
			claim := claimed.Offset.Abs() + claimed.MaxError
			m, measured := q.Upstream()
			switch {
			case q.contradicted:
				contradicted++
			case !measured:
				if now.Sub(earliest) < claim || latest.Sub(now) < claim {
					t.Fatalf("state %d: from %v to %v, narrower than the claim of %v", i, earliest.Sub(now), latest.Sub(now), claim)
				}
			default:
				if w := latest.Sub(earliest); w < 2*claim {
					narrowed++
				}
				if e := now.Add(max(-claim, m.Offset-m.Bound)); claimed.claims() && earliest.After(e) {
					t.Fatalf("state %d: the earliest is later than either claims", i)
				}
			}
		}
		if s := step(old.At, now).Abs(); s > 0 && fresh == old {
			unseen++
		}
	}
	t.Logf("bounds known %d times, narrowed by a measurement %d, contradicted %d; %d steps below %v", known, narrowed, contradicted, unseen, stepSize)
	if known < states || narrowed < states/20 || contradicted < states/20 || unseen < states/100 {
		t.Error("the states are not what they should be")
	}
}

// disciplinedAsIs has the daemon find out how wrong the clock is, and leave it.
func (w *world) disciplinedAsIs() {
	w.told, w.wrote = true, w.passed
	w.offset = min(max(-w.error(), -500*ms), 500*ms)
	w.maxError = (w.error() + w.offset).Abs() + w.upTo(ms)
	w.told = w.maxError < MaxErrorLimit
}

// TestGrowingErrorContainsTheTrueTimeForAnyLaterReader has clients read what a
// segment of ClockBound says of a Quality, at any age up to its end.
func TestGrowingErrorContainsTheTrueTimeForAnyLaterReader(t *testing.T) {
	const life, late, limit = time.Minute, clockbound.CoarseStep, 2 * time.Second
	rng := rand.New(rand.NewPCG(80, 2))
	var bounded, disrupted, recovered, expired int
	for i := range states {
		w := newWorld(rng)
		c := &Clock{now: w.now, kernel: w, raw: w.raw, start: w.now()}
		w.pass(w.upTo(time.Minute))
		kind := rng.IntN(3) // of comparisons with a server: none, a right one, a wrong one
		c.Refresh()
		if kind > 0 {
			c.SetMeasurement(w.measure(kind == 2))
			w.pass(w.upTo(10 * time.Second))
		}
		stepped := rng.IntN(4) == 0
		if stepped {
			w.step(w.some([...]time.Duration{0, ms, 15 * ms, 1000 * time.Hour}[rng.IntN(4)]))
			w.told = false // as the kernel does when the time is set
			if rng.IntN(2) == 0 {
				w.disciplinedAsIs()
			}
			c.Stepped()
			if rng.IntN(2) == 0 {
				w.pass(w.upTo(time.Second))
				if rng.IntN(2) == 0 {
					w.disciplinedAsIs()
				}
			}
		}

		asOf := w.mono() - w.upTo(late) // the coarse clock
		q := c.Refresh()
		e, _ := q.GrowingError(life, late)
		s := clockbound.Snapshot{AsOf: asOf, Bound: e, MaxDrift: 500_000, Status: clockbound.Synchronized}
		switch {
		case q.Disrupted() || q.Contradicted():
			s.Status = clockbound.Disrupted
			disrupted++
		case !q.Trusted(q.At, limit) || e > limit:
			s.Status = clockbound.Unknown
		}
		s.VoidAfter = asOf + min(life, (limit-e)*(time.Second/MaxDrift))
		w.pass(w.upTo([...]time.Duration{ms, time.Second, life}[rng.IntN(3)]))

		now := w.now()
		truth := now.Add(-w.error()).Round(0)
		got, err := s.At(now, w.mono()-w.upTo(late))
		if errors.Is(err, clockbound.ErrExpired) {
			expired++
		}
		if truth.Before(got.Earliest) || truth.After(got.Latest) {
			if kind == 2 && !q.kernelClaims() { // only the wrong server says anything
				continue
			}
			t.Fatalf("state %d: the true time is %v off, said to be from %v to %v\n%+v\n%+v\n%+v", i, -w.error(), got.Earliest.Sub(now.Round(0)), got.Latest.Sub(now.Round(0)), w, q, s)
		}
		if !got.Status.Bounded() {
			continue
		}
		bounded++
		if stepped {
			recovered++
		}
		earliest, latest, _ := q.Bounds(now)
		if got.Earliest.After(earliest.Round(0)) || got.Latest.Before(latest.Round(0)) {
			t.Fatalf("state %d: from %v to %v, narrower than from %v to %v", i, got.Earliest, got.Latest, earliest, latest)
		}
	}
	t.Logf("%d states bounded, %d of them after a step; %d disrupted, %d expired", bounded, recovered, disrupted, expired)
	if bounded < states/3 || recovered < states/50 || disrupted < states/10 || expired < states/1000 {
		t.Error("the states are not what they should be")
	}
}
