package clock

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"nowd/clockbound"
)

// world is a simulation of the true time, a clock, its oscillator, and a daemon
// that steers the clock.
type world struct {
	rng *rand.Rand

	passed    time.Duration // true time since start
	drift     time.Duration // of the clock, in ns a second, without slews
	oscDrift  time.Duration // of the oscillator, in ns a second
	ahead     time.Duration // by how much the clock is ahead of true time, without drift
	stepped   time.Duration // the part of ahead that came from steps
	offset    time.Duration // what the kernel has yet to slew
	slewRate  time.Duration // in ns a second
	maxError  time.Duration // as the daemon wrote it
	writtenAt time.Duration // when the daemon wrote maxError
	hasBound  bool          // the kernel has an error bound
}

var start = time.Date(2036, 2, 7, 6, 28, 0, 0, time.UTC)

func newWorld(rng *rand.Rand) *world {
	w := &world{rng: rng}
	w.drift, w.oscDrift = w.within(500*time.Microsecond), w.within(500*time.Microsecond)
	w.slewRate = w.upTo(80 * time.Millisecond)
	w.discipline()
	return w
}

// upTo returns a random duration from 0 to d.
func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d) + 1)) }

// within returns a random duration from -d to d.
func (w *world) within(d time.Duration) time.Duration { return 2*w.upTo(d) - d }

// discipline has the daemon compare the clock with the true time, set it, and
// write the offset still to be slewed and the error bound. One time in eight
// there is no daemon.
func (w *world) discipline() {
	w.hasBound = w.rng.IntN(8) != 0
	w.maxError, w.writtenAt = w.upTo([...]time.Duration{50 * time.Microsecond, 5 * ms, time.Second}[w.rng.IntN(3)]), w.passed
	if !w.hasBound {
		w.offset = 0
		return
	}
	w.offset = w.within([...]time.Duration{0, ms, 400 * ms}[w.rng.IntN(3)])
	w.ahead += w.within(w.maxError) - w.offset - w.error()
}

// error returns how far the clock is ahead of the true time.
func (w *world) error() time.Duration { return w.ahead + gain(w.passed, w.drift) }

// gain returns how far a clock with this drift gets ahead in t.
func gain(t, drift time.Duration) time.Duration {
	return time.Duration(float64(t) * float64(drift) / float64(time.Second))
}

// pass lets true time pass. The kernel slews.
func (w *world) pass(t time.Duration) {
	w.passed += t
	slew := min(gain(t, w.slewRate), w.offset.Abs())
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

// raw reads the unsteered clock.
func (w *world) raw() time.Duration { return w.passed + gain(w.passed, w.oscDrift) }

// State returns the kernel's state. Its maximum error is what the daemon wrote,
// and 500 µs for each whole second since.
func (w *world) State() (State, error) {
	if !w.hasBound {
		return State{MaxError: MaxErrorLimit}, nil
	}
	return State{MaxError: w.maxError + (w.passed-w.writtenAt)/time.Second*500*time.Microsecond, Offset: w.offset}, nil
}

// measure returns the measurement of a time server. It is right to within its
// bound, or wrong by an hour.
func (w *world) measure(wrong bool) Measurement {
	bound := w.upTo(100 * ms)
	m := Measurement{At: w.now(), Offset: w.within(bound) - w.error(), Bound: bound, Life: time.Hour}
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
		kind := rng.IntN(4) // of measurement: none, an old one, a right one, a wrong one
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
			w.step(w.within([...]time.Duration{ms, 15 * ms, time.Minute, 1000 * time.Hour}[rng.IntN(4)]))
			if w.hasBound {
				w.hasBound = false // the kernel drops it when the time is set
				if rng.IntN(2) == 0 {
					w.estimate()
				}
			}
		}
		now := w.now()
		truth := now.Add(-w.error())
		fresh := c.Quality(now)
		for _, q := range []*Quality{old, fresh} {
			earliest, latest, ok := q.Bounds(now)
			if !ok || kind == 3 && !q.kernelClaims() { // the wrong measurement is the only bound
				continue
			}
			known++
			if truth.Round(0).Before(earliest.Round(0)) || truth.Round(0).After(latest.Round(0)) {
				t.Fatalf("state %d: the true time is %v off, the bounds are %v to %v\n%+v\n%+v", i, -w.error(), earliest.Sub(now), latest.Sub(now), w, q)
			}
			e, _ := q.Error(now)
			if e < now.Sub(earliest) || e < latest.Sub(now) {
				t.Fatalf("state %d: an error of %v, but bounds from %v to %v", i, e, earliest.Sub(now), latest.Sub(now))
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
					t.Fatalf("state %d: bounds from %v to %v, narrower than the kernel's %v", i, earliest.Sub(now), latest.Sub(now), claim)
				}
			default:
				if w := latest.Sub(earliest); w < 2*claim {
					narrowed++
				}
				if e := now.Add(max(-claim, m.Offset-m.Bound)); claimed.claims() && earliest.After(e) {
					t.Fatalf("state %d: the earliest time is later than both the kernel's and the measurement's", i)
				}
			}
		}
		if s := step(old.At, now).Abs(); s > 0 && fresh == old {
			unseen++
		}
	}
	t.Logf("bounds known %d times, narrowed by a measurement %d, contradicted %d; %d steps below %v", known, narrowed, contradicted, unseen, stepSize)
	if known < states || narrowed < states/20 || contradicted < states/20 || unseen < states/100 {
		t.Error("too few states of one kind")
	}
}

// estimate has the daemon measure the clock's error and write it, without setting
// the clock.
func (w *world) estimate() {
	w.writtenAt = w.passed
	w.offset = min(max(-w.error(), -500*ms), 500*ms)
	w.maxError = (w.error() + w.offset).Abs() + w.upTo(ms)
	w.hasBound = w.maxError < MaxErrorLimit
}

// TestGrowingErrorContainsTheTrueTimeForAnyLaterReader writes a Quality to a
// ClockBound snapshot. Clients read it at any age until it expires.
func TestGrowingErrorContainsTheTrueTimeForAnyLaterReader(t *testing.T) {
	const life, late, limit = time.Minute, clockbound.CoarseStep, 2 * time.Second
	rng := rand.New(rand.NewPCG(80, 2))
	var bounded, disrupted, recovered, expired int
	for i := range states {
		w := newWorld(rng)
		c := &Clock{now: w.now, kernel: w, raw: w.raw, start: w.now()}
		w.pass(w.upTo(time.Minute))
		kind := rng.IntN(3) // of measurement: none, a right one, a wrong one
		c.Refresh()
		if kind > 0 {
			c.SetMeasurement(w.measure(kind == 2))
			w.pass(w.upTo(10 * time.Second))
		}
		stepped := rng.IntN(4) == 0
		if stepped {
			w.step(w.within([...]time.Duration{0, ms, 15 * ms, 1000 * time.Hour}[rng.IntN(4)]))
			w.hasBound = false // the kernel drops it when the time is set
			if rng.IntN(2) == 0 {
				w.estimate()
			}
			c.Stepped()
			if rng.IntN(2) == 0 {
				w.pass(w.upTo(time.Second))
				if rng.IntN(2) == 0 {
					w.estimate()
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
			if kind == 2 && !q.kernelClaims() { // the wrong measurement is the only bound
				continue
			}
			t.Fatalf("state %d: the true time is %v off, the bounds are %v to %v\n%+v\n%+v\n%+v", i, -w.error(), got.Earliest.Sub(now.Round(0)), got.Latest.Sub(now.Round(0)), w, q, s)
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
			t.Fatalf("state %d: bounds from %v to %v, narrower than the Quality's from %v to %v", i, got.Earliest, got.Latest, earliest, latest)
		}
	}
	t.Logf("%d states bounded, %d of them after a step; %d disrupted, %d expired", bounded, recovered, disrupted, expired)
	if bounded < states/3 || recovered < states/50 || disrupted < states/10 || expired < states/1000 {
		t.Error("too few states of one kind")
	}
}
