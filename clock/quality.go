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
	Err error     // why nothing is known; State is empty then
	At  time.Time // when the kernel was asked
}

// MaxErrorLimit is the maximum error at which the kernel stops counting, and
// from which on it says nothing: NTP_PHASE_LIMIT of the kernel, MAXDISP of
// RFC 5905.
const MaxErrorLimit = 16 * time.Second

// drift is how fast a clock that nobody steers may go wrong, per second: the
// kernel's own figure, MAXFREQ.
const drift = 500 * time.Microsecond

// Synced reports whether the clock is synchronised: its maximum error is below
// MaxErrorLimit and there is no fault. The kernel's bit STA_UNSYNC does not
// count, for common daemons leave it set on good clocks.
func (q *Quality) Synced() bool {
	return q.Err == nil && !q.Faulty && q.MaxError < MaxErrorLimit
}

// Error returns how far off the clock may be at t, and false if there is no
// knowing. It is the kernel's maximum error and what it still slews, and what
// may have been added by drift: since the kernel was asked, and in the second
// before, for the kernel adds to its figure but once a second.
func (q *Quality) Error(t time.Time) (time.Duration, bool) {
	if q.Err != nil || q.MaxError >= MaxErrorLimit {
		return 0, false
	}
	age := max(0, t.Sub(q.At)) + time.Second
	grown := (age + time.Second - 1) / time.Second * drift
	return q.Offset.Abs() + q.MaxError + grown, true
}

// Trusted reports whether the clock is synchronised and, at t, off by limit at
// the most.
func (q *Quality) Trusted(t time.Time, limit time.Duration) bool {
	e, ok := q.Error(t)
	return ok && q.Synced() && e <= limit
}
