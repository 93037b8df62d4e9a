package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

// refreshInterval is the age at which a Quality is stale.
const refreshInterval = time.Second

// Config configures a Clock. Its zero value is for the host's clock.
type Config struct {
	Now    func() time.Time // reads the time; nil for the host's
	Kernel Kernel           // reads the kernel's state; nil for the host's
	Floor  time.Duration    // added to the error bounds of the kernel and of a Measurement

	// Observe is called with each new Quality, on the goroutine whose call of the
	// Clock made it. It must return soon, and not call methods of the Clock.
	Observe func(*Quality)

	// Disrupted makes the clock Disrupted from the beginning.
	Disrupted bool
}

// A Clock reads the time and its quality. Its methods may be called from any
// goroutine.
type Clock struct {
	now     func() time.Time
	kernel  Kernel
	floor   time.Duration
	observe func(*Quality)       // nil for none
	raw     func() time.Duration // an unsteered clock; nil for none
	start   time.Time            // when New was called
	last    atomic.Pointer[Quality]

	mu          sync.Mutex // held while the kernel's state is read, once a second; guards the fields below
	steps       steps
	measurement *heldMeasurement // nil if there is no valid one
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

// Now returns the time that the clock shows.
func (c *Clock) Now() time.Time { return c.now() }

// Quality returns the clock's state and error bounds. They are at most a second
// older than now, and not from before a step that shows in now. Quality reads the
// kernel's state only if the last result is stale: one adjtimex(2) a second. The
// result is immutable.
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

// Refresh returns a new Quality: it reads the kernel's state in any case.
func (c *Clock) Refresh() *Quality {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lookForStep()
	return c.refresh(c.now())
}

// refresh reads the kernel's state and makes a new Quality. c.mu must be held.
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

// fresh reports whether q is not nil and recent enough at now. q may be newer
// than now, because another loop may have read the clock a moment later.
func (q *Quality) fresh(now time.Time) bool {
	if q == nil {
		return false
	}
	age := now.Sub(q.At)
	return -refreshInterval < age && age < refreshInterval && step(q.At, now).Abs() < stepSize
}

// aheadOfRaw returns how far the wall clock has moved ahead of the unsteered one
// since New. Only changes of the result matter: they are what the clock was
// slewed by.
func (c *Clock) aheadOfRaw() time.Duration {
	if c.raw == nil {
		return 0
	}
	return c.elapsed() - c.raw()
}

// elapsed returns how far the wall clock has moved since New, steps included.
func (c *Clock) elapsed() time.Duration { return c.now().Round(0).Sub(c.start.Round(0)) }
