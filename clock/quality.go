package clock

import (
	"errors"
	"time"
)

// Kernel tells the state of a clock. It is an interface so that tests can have
// a clock in any state: the machines they run on are rarely synchronised.
type Kernel interface {
	State() (State, error)
}

// ErrUnsupported is the error of a Kernel that keeps no such state.
var ErrUnsupported = errors.New("this system's kernel does not tell its clock's quality")

// State is what the kernel keeps of its clock for the daemon that steers it;
// see adjtimex(2) and RFC 5905, section 7.4 and appendix A.
type State struct {
	Faulty   bool          // the clock or its pulse-per-second signal has an error; STA_UNSYNC is none
	MaxError time.Duration // how far off the time may be; the kernel adds 500 µs each second
	EstError time.Duration // how far off the daemon thinks it is
	Offset   time.Duration // what is still to be slewed
	Leap     Leap
	TAI      int // International Atomic Time less UTC, in seconds; 0 where nobody has set it
}

// claims reports whether the kernel says how far off the time may be.
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

// Quality is what was known of the clock at one moment. It is not changed after
// it was made.
type Quality struct {
	State
	Err error     // why the kernel says nothing; State is empty then
	At  time.Time // when the kernel was asked

	floor        time.Duration
	upstream     *Measurement // nil for none, or none that is still good
	contradicted bool
}

// MaxErrorLimit is the maximum error at which the kernel stops counting, and
// from which on it says nothing: NTP_PHASE_LIMIT of the kernel, MAXDISP of
// RFC 5905.
const MaxErrorLimit = 16 * time.Second

// Drift is how fast a clock that nobody steers may go wrong, per second: the
// kernel's own figure, MAXFREQ. It divides a second without a remainder.
const Drift = 500 * time.Microsecond

// Upstream returns the last comparison with a time server, its bound widened by
// what the time was slewed by since, and false if there is none that is still
// good.
func (q *Quality) Upstream() (Measurement, bool) {
	if q.upstream == nil {
		return Measurement{}, false
	}
	return *q.upstream, true
}

// Contradicted reports whether the kernel and the time server cannot both be
// right.
func (q *Quality) Contradicted() bool { return q.contradicted }

// Synced reports whether the clock is synchronised: how far off it may be is
// known, which is less than MaxErrorLimit, there is no fault, and no time server
// contradicts the kernel. The kernel's bit STA_UNSYNC does not count, for common
// daemons leave it set on good clocks.
//
// If the kernel claims nothing it is enough that a server was asked. What is
// known then is known as well as otherwise, whoever keeps the clock right; and
// there are good clocks of which the kernel is never told anything: busybox's
// ntpd does not, and a hypervisor may do without.
func (q *Quality) Synced() bool {
	e, ok := q.Error(q.At)
	return ok && !q.Faulty && !q.contradicted && (q.kernelClaims() || e < MaxErrorLimit)
}

func (q *Quality) kernelClaims() bool { return q.Err == nil && q.claims() }

// judge compares what the kernel and the server say.
func (q *Quality) judge() {
	if q.kernelClaims() && q.upstream != nil {
		q.contradicted = q.kernel(q.At).apart(q.server(q.At))
	}
}

// Bounds returns the earliest and the latest time that it may truly be when the
// clock says t, and false if there is no knowing. They are rounded outward.
//
// By the kernel it is t, more or less its maximum error, what it still slews,
// what may have been added by drift, and the floor. A comparison with a time server
// narrows that down: both being right, the true time is where they overlap. If
// they do not, or the kernel reports a fault, it can be wherever either says.
// Should the clock have been stepped since the kernel was asked, the step may
// be an error, and counts as one.
func (q *Quality) Bounds(t time.Time) (earliest, latest time.Time, ok bool) {
	i, ok := q.interval(t)
	if !ok {
		return time.Time{}, time.Time{}, false
	}
	return t.Add(i.from), t.Add(i.to), true
}

// Error returns how far off the clock may be at t, and false if there is no
// knowing: how far away from t the farther of its Bounds is.
func (q *Quality) Error(t time.Time) (time.Duration, bool) {
	i, ok := q.interval(t)
	return max(-i.from, i.to), ok
}

// Trusted reports whether the clock is synchronised and, at t, off by limit at
// the most.
func (q *Quality) Trusted(t time.Time, limit time.Duration) bool {
	e, ok := q.Error(t)
	return ok && q.Synced() && e <= limit
}

// interval is from where to where the true time may lie, less the clock's.
type interval struct{ from, to time.Duration }

func (i interval) apart(j interval) bool       { return i.to < j.from || j.to < i.from }
func (i interval) overlap(j interval) interval { return interval{max(i.from, j.from), min(i.to, j.to)} }
func (i interval) hull(j interval) interval    { return interval{min(i.from, j.from), max(i.to, j.to)} }

func (i interval) wider(by time.Duration) interval { return interval{i.from - by, i.to + by} }

// interval returns between what the true time less the clock's is at t.
func (q *Quality) interval(t time.Time) (interval, bool) {
	var i interval
	switch {
	case q.kernelClaims():
		i = q.kernel(t)
	case q.upstream == nil:
		return interval{}, false
	}
	if q.upstream != nil {
		u := q.server(t)
		switch {
		case !q.kernelClaims():
			i = u
		case q.contradicted || q.Faulty:
			i = i.hull(u)
		default:
			i = i.overlap(u)
		}
	}
	return i.wider(step(q.At, t).Abs()), true
}

// kernel returns the interval that the kernel claims. Drift counts since it was
// asked, and in the second before, for the kernel adds to its figure but once a
// second.
func (q *Quality) kernel(t time.Time) interval {
	age := max(0, t.Sub(q.At)) + time.Second
	grown := (age + time.Second - 1) / time.Second * Drift
	return interval{}.wider(q.Offset.Abs() + q.MaxError + grown + q.floor)
}

// server returns the interval that the time server claims. What the kernel has
// to slew it may have slewed since it was asked, and then the clock has moved by
// that. Of a time before At no more is known than of At.
func (q *Quality) server(t time.Time) interval {
	i := q.upstream.interval(t.Add(max(0, q.At.Sub(t))))
	return interval{i.from - max(0, q.Offset), i.to - min(0, q.Offset)}.wider(q.floor)
}
