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

	// Observe is called with each new Quality, by the goroutine that asked for it or
	// changed it. It must return soon, and not call methods of the Clock.
	Observe func(*Quality)

	// Disrupted says that the clock is Disrupted from the beginning.
	Disrupted bool
}

// A Clock reads the time and its quality. Its methods may be called from any
// goroutine.
type Clock struct {
	now     func() time.Time
	kernel  Kernel
	floor   time.Duration
	observe func(*Quality)       // nil for none
	raw     func() time.Duration // a clock that nobody steers; nil for none
	start   time.Time            // when the clock was made
	last    atomic.Pointer[Quality]

	mu          sync.Mutex // held while the kernel is asked, once a second
	steps       steps
	measurement *heldMeasurement // nil without one that is still valid
}

// New returns the clock that c describes.
func New(c Config) *Clock {
	made := &Clock{now: c.Now, kernel: c.Kernel, floor: c.Floor, observe: c.Observe}
	made.steps.disrupted = c.Disrupted
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
	c.lookForStep()
	return c.refresh(now)
}

// Refresh asks the kernel, however recent the last Quality is.
func (c *Clock) Refresh() *Quality {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lookForStep()
	return c.refresh(c.now())
}

// refresh asks the kernel. c.mu must be held.
func (c *Clock) refresh(now time.Time) *Quality {
	state, err := c.kernel.State()
	q := &Quality{State: state, Err: err, At: now, Steps: c.steps.count, LastStep: c.steps.size, floor: c.floor}
	if m := c.measurement; m != nil {
		if m.expired(now) || c.steps.count != m.steps {
			c.measurement = nil
		} else {
			q.upstream = m.slewed(c.aheadOfRaw())
		}
	}
	q.compareSources()
	c.steps.judge(c.last.Load(), q)
	c.last.Store(q)
	if c.observe != nil {
		c.observe(q)
	}
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

// aheadOfRaw returns how far the wall clock has got ahead, since the clock was
// made, of one that nobody steers. Only its change means something: how far the
// time was slewed.
func (c *Clock) aheadOfRaw() time.Duration {
	if c.raw == nil {
		return 0
	}
	return c.elapsed() - c.raw()
}

// elapsed returns how far the wall clock is from where it was when the clock was made,
// steps included.
func (c *Clock) elapsed() time.Duration { return c.now().Round(0).Sub(c.start.Round(0)) }
