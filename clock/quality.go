package clock

import (
	"errors"
	"time"
)

// Kernel reads the state of a clock. It is an interface so that tests can have a
// clock in any state: test machines are rarely synchronised.
type Kernel interface {
	State() (State, error)
}

// ErrUnsupported is the error of a Kernel that keeps no State.
var ErrUnsupported = errors.New("this system's kernel does not report the quality of its clock")

// State is the kernel's state of the clock, which the daemon that steers the
// clock writes: adjtimex(2).
type State struct {
	Faulty   bool          // the clock or its pulse-per-second signal has an error; STA_UNSYNC does not count
	MaxError time.Duration // error bound; the kernel adds 500 µs each second
	EstError time.Duration // the daemon's estimate of the error
	Offset   time.Duration // still to be slewed
	Leap     Leap
	TAI      int // International Atomic Time minus UTC, in seconds; 0 if not set
}

// claims reports whether the kernel claims an error bound.
func (s *State) claims() bool { return s.MaxError < MaxErrorLimit }

// Leap is the leap second at the end of the day.
type Leap uint8

const (
	LeapNone   Leap = iota
	LeapInsert      // the last minute of the day has 61 seconds
	LeapDelete      // the last minute of the day has 59 seconds
)

// String returns "none", "insert" or "delete".
func (l Leap) String() string { return [...]string{"none", "insert", "delete"}[l] }

// Quality is the state of the clock and its error bounds as of one moment. It is
// immutable.
type Quality struct {
	State
	Err error     // of reading the kernel's state; if not nil, State is empty
	At  time.Time // when the kernel's state was read

	Steps    uint64        // steps seen so far: Clock.Steps
	LastStep time.Duration // how far the last step moved the time; positive if forward

	floor        time.Duration
	upstream     *Measurement // nil if there is no valid one
	contradicted bool
	disrupted    bool
}

// MaxErrorLimit is the maximum error at which the kernel stops counting. A
// maximum error that large means that no bound is known: NTP_PHASE_LIMIT of the
// kernel, MAXDISP of RFC 5905.
const MaxErrorLimit = 16 * time.Second

// MaxDrift is an upper bound on how far an unsteered clock drifts in a second:
// MAXFREQ of the kernel. It divides a second without a remainder.
const MaxDrift = 500 * time.Microsecond

// DriftOver returns how far an unsteered clock can drift in d, rounded down to a
// nanosecond. The result plus 1 ns is an upper bound.
func DriftOver(d time.Duration) time.Duration { return d / (time.Second / MaxDrift) }

// Upstream returns the measurement, with its bound widened by what the clock was
// slewed by since. It returns false if there is no valid one.
func (q *Quality) Upstream() (Measurement, bool) {
	if q.upstream == nil {
		return Measurement{}, false
	}
	return *q.upstream, true
}

// Contradicted reports whether the bounds of the kernel and of the measurement
// cannot both be right.
func (q *Quality) Contradicted() bool { return q.contradicted }

// Disrupted reports whether the clock was stepped and is not confirmed since. A
// daemon confirms it with a new bound in the kernel. A time server confirms it by
// a measurement that does not contradict the kernel.
func (q *Quality) Disrupted() bool { return q.disrupted }

// Synced reports whether the clock is synchronised: its error bound is known and
// below MaxErrorLimit, the kernel reports no fault, and no measurement
// contradicts the kernel. The kernel's bit STA_UNSYNC does not count, because
// common daemons leave it set on good clocks.
//
// A measurement is enough if the kernel claims no bound. Some good clocks never
// have a bound in the kernel: busybox's ntpd writes none, and with a hypervisor
// that keeps the time there may be no daemon.
func (q *Quality) Synced() bool {
	e, ok := q.Error(q.At)
	return ok && !q.Faulty && !q.contradicted && (q.kernelClaims() || e < MaxErrorLimit)
}

func (q *Quality) kernelClaims() bool { return q.Err == nil && q.claims() }

// compareSources sets contradicted.
func (q *Quality) compareSources() {
	if q.kernelClaims() && q.upstream != nil {
		q.contradicted = q.kernelInterval(q.At).Disjoint(q.upstreamInterval(q.At))
	}
}

// Bounds returns the earliest and the latest true time when the clock says t,
// rounded outward. It returns false if no bound is known.
//
// The kernel's bounds are t ± the sum of its maximum error, the offset still to
// be slewed, drift and the floor. With a measurement, Bounds returns the overlap
// of the kernel's bounds and the measurement's. If they do not overlap, or the
// kernel reports a fault, it returns their hull. A step of the clock since At
// widens the result by its size.
func (q *Quality) Bounds(t time.Time) (earliest, latest time.Time, ok bool) {
	i, ok := q.interval(t)
	if !ok {
		return time.Time{}, time.Time{}, false
	}
	return t.Add(i.Low), t.Add(i.High), true
}

// Error returns an upper bound on the error of the clock at t: the distance of t
// from the farther one of its Bounds. It returns false if no bound is known.
func (q *Quality) Error(t time.Time) (time.Duration, bool) {
	i, ok := q.interval(t)
	return max(-i.Low, i.High), ok
}

// GrowingError returns an error bound as of At for readers that add drift
// themselves. At any t up to life after At, the result plus MaxDrift per second
// since At is at least Error(t), unless the clock is stepped. That holds even if
// the reader measures the time since At with a clock that is behind by up to
// late, and drifts. GrowingError returns false if no bound is known.
func (q *Quality) GrowingError(life, late time.Duration) (time.Duration, bool) {
	// Add(1), because drift counts for each second begun, and the next one begins
	// now. The last 1 is for rounding down.
	e, ok := q.Error(q.At.Add(1))
	return AddSaturated(e, DriftOver(late+DriftOver(life)+q.Offset.Abs())+1), ok
}

// Trusted reports whether the clock is Synced and its Error at t is at most
// limit.
func (q *Quality) Trusted(t time.Time, limit time.Duration) bool {
	e, ok := q.Error(t)
	return ok && q.Synced() && e <= limit
}

// interval returns where the true time lies when the clock says t, as an offset
// from t. It returns false if no bound is known.
func (q *Quality) interval(t time.Time) (Interval, bool) {
	var i Interval
	switch {
	case q.kernelClaims():
		i = q.kernelInterval(t)
	case q.upstream == nil:
		return Interval{}, false
	}
	if q.upstream != nil {
		u := q.upstreamInterval(t)
		switch {
		case !q.kernelClaims():
			i = u
		case q.contradicted || q.Faulty:
			i = i.Hull(u)
		default:
			i = i.Overlap(u)
		}
	}
	return i.Widen(step(q.At, t).Abs()), true
}

// kernelInterval returns the interval that the kernel claims. Drift counts from
// At on, and for one second more, because the kernel adds it to its maximum error
// only once a second.
func (q *Quality) kernelInterval(t time.Time) Interval {
	age := max(0, t.Sub(q.At)) + time.Second
	seconds := (age + time.Second - 1) / time.Second
	bound := q.Offset.Abs() + q.MaxError + seconds*MaxDrift + q.floor
	return Interval{-bound, bound}
}

// upstreamInterval returns the interval of the measurement. The kernel may have
// slewed its offset since At, which moves the clock by as much. For a t before
// At, the interval is that of At.
func (q *Quality) upstreamInterval(t time.Time) Interval {
	i := q.upstream.intervalAt(t.Add(max(0, q.At.Sub(t))))
	return Interval{i.Low - max(0, q.Offset), i.High - min(0, q.Offset)}.Widen(q.floor)
}
