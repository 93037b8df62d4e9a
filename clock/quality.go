package clock

import (
	"errors"
	"time"
)

// Kernel reads the state of a clock. It is an interface so that tests can have
// a clock in any state: the machines they run on are rarely synchronised.
type Kernel interface {
	State() (State, error)
}

// ErrUnsupported is the error of a Kernel that keeps no such state.
var ErrUnsupported = errors.New("this system's kernel does not tell its clock's quality")

// State is the state of the clock that the kernel keeps for the daemon that
// steers it: adjtimex(2).
type State struct {
	Faulty   bool          // the clock or its pulse-per-second signal has an error; STA_UNSYNC is none
	MaxError time.Duration // how far off the time may be; the kernel adds 500 µs each second
	EstError time.Duration // how far off the daemon thinks it is
	Offset   time.Duration // still to be slewed
	Leap     Leap
	TAI      int // International Atomic Time less UTC, in seconds; 0 where nobody has set it
}

// claims reports whether the kernel claims an error bound.
func (s *State) claims() bool { return s.MaxError < MaxErrorLimit }

// Leap says whether the day ends with a leap second.
type Leap uint8

const (
	LeapNone   Leap = iota
	LeapInsert      // the last minute of the day has 61 seconds
	LeapDelete      // it has 59
)

// String returns "none", "insert" or "delete".
func (l Leap) String() string { return [...]string{"none", "insert", "delete"}[l] }

// Quality is what was known of the clock at one moment. It is immutable.
type Quality struct {
	State
	Err error     // why the kernel says nothing; State is empty then
	At  time.Time // when the kernel was asked

	Steps    uint64        // steps seen so far: Clock.Steps
	LastStep time.Duration // how far the last of them moved the time; positive if forward

	floor        time.Duration
	upstream     *Measurement // nil without one that is still valid
	contradicted bool
	disrupted    bool
}

// MaxErrorLimit is the maximum error at which the kernel stops counting. A
// maximum error that large is no claim: NTP_PHASE_LIMIT of the kernel, MAXDISP
// of RFC 5905.
const MaxErrorLimit = 16 * time.Second

// MaxDrift is an upper bound on how far a clock that nobody steers drifts in a
// second: the kernel's own figure, MAXFREQ. It divides a second without a
// remainder.
const MaxDrift = 500 * time.Microsecond

// DriftOver returns how far a clock that nobody steers drifts in d at most, rounded
// down to a nanosecond: one more is an upper bound.
func DriftOver(d time.Duration) time.Duration { return d / (time.Second / MaxDrift) }

// Upstream returns the last comparison with a time server, its bound widened by
// what the time was slewed by since. It returns false without one that is still
// valid.
func (q *Quality) Upstream() (Measurement, bool) {
	if q.upstream == nil {
		return Measurement{}, false
	}
	return *q.upstream, true
}

// Contradicted reports whether the kernel and the time server cannot both be
// right.
func (q *Quality) Contradicted() bool { return q.contradicted }

// Disrupted reports whether the clock was stepped, and nobody has vouched for it
// since: the kernel's claim has not been set anew, and no time server agrees with it.
func (q *Quality) Disrupted() bool { return q.disrupted }

// Synced reports whether the clock is synchronised: its error bound is known and
// below MaxErrorLimit, there is no fault, and no time server contradicts the
// kernel. The kernel's bit STA_UNSYNC does not count, for common daemons leave it
// set on good clocks.
//
// If the kernel claims no bound, a comparison with a time server is enough, and
// no less certain. There are good clocks whose kernel is never given a bound:
// busybox's ntpd gives none, and a hypervisor may do without.
func (q *Quality) Synced() bool {
	e, ok := q.Error(q.At)
	return ok && !q.Faulty && !q.contradicted && (q.kernelClaims() || e < MaxErrorLimit)
}

func (q *Quality) kernelClaims() bool { return q.Err == nil && q.claims() }

// compareSources finds out whether the kernel and the server contradict each
// other.
func (q *Quality) compareSources() {
	if q.kernelClaims() && q.upstream != nil {
		q.contradicted = q.kernelInterval(q.At).Disjoint(q.upstreamInterval(q.At))
	}
}

// Bounds returns the earliest and the latest true time when the clock says t,
// rounded outward. It returns false if no bound is known.
//
// The kernel bounds true time by t, more or less its maximum error, the offset
// that it is still slewing, drift, and the floor. A comparison with a time server
// narrows that down: both being right, the true time is in the overlap. If there
// is no overlap, or the kernel reports a fault, the bounds are the hull of both.
// A step of the clock since the kernel was asked counts as an error of that size.
func (q *Quality) Bounds(t time.Time) (earliest, latest time.Time, ok bool) {
	i, ok := q.interval(t)
	if !ok {
		return time.Time{}, time.Time{}, false
	}
	return t.Add(i.Low), t.Add(i.High), true
}

// Error returns an upper bound on how far off the clock is at t: the distance of
// t from the farther of its Bounds. It returns false if no bound is known.
func (q *Quality) Error(t time.Time) (time.Duration, bool) {
	i, ok := q.interval(t)
	return max(-i.Low, i.High), ok
}

// GrowingError returns the Error as of At for those who add the drift since At
// themselves: at any time t up to life after At, the result plus MaxDrift for each
// second since At is at least Error(t), if there was no step. It is so even if their
// clock for that time is late by as much as late, and drifts itself.
func (q *Quality) GrowingError(life, late time.Duration) (time.Duration, bool) {
	// Drift counts for each second begun, and now the next one begins. 1 is for
	// what rounds down.
	e, ok := q.Error(q.At.Add(1))
	return AddSaturated(e, DriftOver(late+DriftOver(life)+q.Offset.Abs())+1), ok
}

// Trusted reports whether the clock is synchronised and, at t, its Error at most
// limit.
func (q *Quality) Trusted(t time.Time, limit time.Duration) bool {
	e, ok := q.Error(t)
	return ok && q.Synced() && e <= limit
}

// interval returns where the true time may lie at t, as an offset from the
// clock's.
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

// kernelInterval returns the interval that the kernel claims. Drift counts since
// the kernel was asked, and one second more, for the kernel adds it to its figure
// only once a second.
func (q *Quality) kernelInterval(t time.Time) Interval {
	age := max(0, t.Sub(q.At)) + time.Second
	seconds := (age + time.Second - 1) / time.Second
	bound := q.Offset.Abs() + q.MaxError + seconds*MaxDrift + q.floor
	return Interval{-bound, bound}
}

// upstreamInterval returns the interval that the time server claims. The kernel
// may have slewed its offset since it was asked, and the clock moved by as much.
// Before At, the measurement says no more than at At.
func (q *Quality) upstreamInterval(t time.Time) Interval {
	i := q.upstream.intervalAt(t.Add(max(0, q.At.Sub(t))))
	return Interval{i.Low - max(0, q.Offset), i.High - min(0, q.Offset)}.Widen(q.floor)
}
