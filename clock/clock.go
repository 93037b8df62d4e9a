package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

// refreshInterval is how old a Quality may be before the kernel is asked again.
const refreshInterval = time.Second

// Config describes a clock. Its zero value is the clock of the host.
type Config struct {
	Now    func() time.Time // reads the time; nil for the host's
	Kernel Kernel           // reads the state; nil for the host's
	Floor  time.Duration    // added to the error bounds of the kernel and of a Measurement
}

// A Clock reads the time and its quality. Its methods may be called from any
// goroutine.
type Clock struct {
	now    func() time.Time
	kernel Kernel
	floor  time.Duration
	raw    func() time.Duration // a clock that nobody steers; nil for none
	start  time.Time            // when the clock was made
	last   atomic.Pointer[Quality]
	steps  atomic.Uint64

	mu          sync.Mutex       // held while the kernel is asked, once a second
	lastAhead   time.Duration    // step since start, at the last refresh
	measurement *heldMeasurement // nil without one that is still valid
}

// New returns the clock that c describes.
func New(c Config) *Clock {
	made := &Clock{now: c.Now, kernel: c.Kernel, floor: c.Floor}
	if made.now == nil {
		made.now, made.raw = time.Now, hostRaw()
	}
	if made.kernel == nil {
		made.kernel = Host()
	}
	made.start = made.now()
	return made
}

// Now reads the time.
func (c *Clock) Now() time.Time { return c.now() }

// Steps returns how often the time was seen to step against the monotonic clock:
// set by hand or by a daemon, or by a leap second. Steps are looked for whenever
// the quality is refreshed, however seldom that is: the kernel slews both clocks
// alike, so only a step moves one against the other. Several steps between two
// refreshes count as one, and as none if they cancel each other out.
func (c *Clock) Steps() uint64 { return c.steps.Load() }

// Quality returns what is known of the clock. It is at most a second older than
// now, and not from before a step that shows in now. It costs one adjtimex(2) a
// second, and only while it is called. The result is immutable.
func (c *Clock) Quality(now time.Time) *Quality {
	q := c.last.Load()
	if q.fresh(now) {
		return q
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.last.Load(); q.fresh(now) {
		return q // another goroutine refreshed it
	}
	return c.refresh(now)
}

// refresh asks the kernel. c.mu must be held.
func (c *Clock) refresh(now time.Time) *Quality {
	c.countSteps()
	state, err := c.kernel.State()
	q := &Quality{State: state, Err: err, At: now, floor: c.floor}
	if m := c.measurement; m != nil {
		if m.expired(now) || c.steps.Load() != m.steps {
			c.measurement = nil
		} else {
			q.upstream = m.slewed(c.aheadOfRaw())
		}
	}
	q.compareSources()
	c.last.Store(q)
	return q
}

// fresh reports whether q exists and is recent enough at now. It may be newer
// than now: another loop may have read the clock a moment later.
func (q *Quality) fresh(now time.Time) bool {
	if q == nil {
		return false
	}
	age := now.Sub(q.At)
	return -refreshInterval < age && age < refreshInterval && step(q.At, now).Abs() < stepSize
}

// stepSize is the least difference between the wall clock and the monotonic
// clock that counts as a step. The two are read one after the other, and a busy
// host may stop the process in between.
const stepSize = 10 * time.Millisecond

// step returns how far the wall clock stepped forward against the monotonic one
// between two readings, and 0 if one of them has no monotonic part.
func step(from, to time.Time) time.Duration {
	return to.Round(0).Sub(from.Round(0)) - to.Sub(from)
}

// countSteps counts a step since the last refresh. c.mu must be held.
func (c *Clock) countSteps() {
	ahead := step(c.start, c.now())
	if (ahead - c.lastAhead).Abs() > stepSize {
		// Read again: the process may just have been stopped between the two clocks.
		if ahead = step(c.start, c.now()); (ahead - c.lastAhead).Abs() > stepSize {
			c.steps.Add(1)
		}
	}
	c.lastAhead = ahead
}

// aheadOfRaw returns how far the wall clock has got ahead, since the clock was
// made, of one that nobody steers. Only its change means something: how far the
// time was slewed.
func (c *Clock) aheadOfRaw() time.Duration {
	if c.raw == nil {
		return 0
	}
	return c.now().Round(0).Sub(c.start.Round(0)) - c.raw()
}
