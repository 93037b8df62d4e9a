package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

// Refresh is how old a Quality may be before the kernel is asked again.
const Refresh = time.Second

// Config says what a clock is made of.
type Config struct {
	Now    func() time.Time // reads the time; nil for the host's
	Kernel Kernel           // tells its state; nil for the host's
	Floor  time.Duration    // what is added to the error bounds of the kernel and of a Measurement
}

// A Clock tells the time and its quality. Its methods may be called from any
// goroutine.
type Clock struct {
	now    func() time.Time
	kernel Kernel
	floor  time.Duration
	raw    func() time.Duration // a clock that nobody steers; nil for none
	start  time.Time            // when the clock was made
	last   atomic.Pointer[Quality]
	steps  atomic.Uint64

	mu       sync.Mutex    // held while the kernel is asked, once a second
	was      time.Duration // the step since start, at the last refresh
	measured *measured     // nil for none that is still good
}

// New returns the clock of the host.
func New() *Clock { return From(Config{}) }

// With returns a clock that reads the time with now and its state from k.
func With(now func() time.Time, k Kernel) *Clock { return From(Config{Now: now, Kernel: k}) }

// From returns the clock that c describes.
func From(c Config) *Clock {
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

// Steps is how often the time was seen to jump against the monotonic clock: set
// by hand or by a daemon, or a leap second. Jumps are looked for whenever the
// quality is read anew; however long ago that was makes no difference, for the
// kernel slews both clocks alike and only a step moves one against the other.
// Several steps between two looks count as one, and not at all if they cancel
// each other out.
func (c *Clock) Steps() uint64 { return c.steps.Load() }

// Quality returns what is known of the clock, as of Refresh before now at the
// most, and not of before a step that is seen in now. It costs one adjtimex(2)
// a second, and only while somebody asks. What is returned is not changed any
// more.
func (c *Clock) Quality(now time.Time) *Quality {
	q := c.last.Load()
	if q.fresh(now) {
		return q
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.last.Load(); q.fresh(now) {
		return q // somebody else has been at it
	}
	return c.refresh(now)
}

// refresh asks the kernel.
func (c *Clock) refresh(now time.Time) *Quality {
	c.watch()
	state, err := c.kernel.State()
	q := &Quality{State: state, Err: err, At: now, floor: c.floor}
	if m := c.measured; m != nil {
		if m.stale(now) || c.steps.Load() != m.steps {
			c.measured = nil
		} else {
			q.upstream = m.widened(c.aheadOfRaw())
		}
	}
	q.judge()
	c.last.Store(q)
	return q
}

// fresh reports whether q is to be had, and good enough at now. Another loop may
// have read the clock a moment later.
func (q *Quality) fresh(now time.Time) bool {
	if q == nil {
		return false
	}
	age := now.Sub(q.At)
	return -Refresh < age && age < Refresh && step(q.At, now).Abs() < stepSize
}

// stepSize is what the wall clock and the monotonic clock may differ by between
// two readings and still not count as a step: they are read one after the
// other, and a busy host may stop us in between.
const stepSize = 10 * time.Millisecond

// step returns how far the wall clock jumped forward against the monotonic one
// between two readings, and 0 if one of them has no monotonic part.
func step(from, to time.Time) time.Duration {
	return to.Round(0).Sub(from.Round(0)) - to.Sub(from)
}

// watch counts steps.
func (c *Clock) watch() {
	ahead := step(c.start, c.now())
	if (ahead - c.was).Abs() > stepSize {
		if ahead = step(c.start, c.now()); (ahead - c.was).Abs() > stepSize { // we were not just stopped in between
			c.steps.Add(1)
		}
	}
	c.was = ahead
}

// aheadOfRaw is how far the wall clock has got ahead, since the clock was made,
// of one that nobody steers. It says nothing by itself; its change says how far
// the time was slewed.
func (c *Clock) aheadOfRaw() time.Duration {
	if c.raw == nil {
		return 0
	}
	return c.now().Round(0).Sub(c.start.Round(0)) - c.raw()
}
