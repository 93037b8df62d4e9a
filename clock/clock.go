// Package clock says what time it is on this host, and how far its kernel says
// that this can be trusted.
package clock

import (
	"sync"
	"sync/atomic"
	"time"
)

// Refresh is how old a Quality may be before the kernel is asked again.
const Refresh = time.Second

// A Clock tells the host's time and its quality. Its methods may be called from
// any goroutine.
type Clock struct {
	now    func() time.Time
	kernel Kernel
	last   atomic.Pointer[Quality]

	refresh sync.Mutex    // who has it asks the kernel; nobody waits for it
	was     time.Duration // ahead() at the last refresh
	steps   atomic.Uint64
	start   time.Time            // when the clock was made
	mono    func() time.Duration // since then, by the monotonic clock
}

// New returns the clock of the host.
func New() *Clock { return With(time.Now, Host()) }

// With returns a clock that reads the time with now and its state from k.
func With(now func() time.Time, k Kernel) *Clock {
	began := time.Now()
	return &Clock{now: now, kernel: k, start: now(), mono: func() time.Duration { return time.Since(began) }}
}

// Now reads the time.
func (c *Clock) Now() time.Time { return c.now() }

// Steps is how often the time was seen to jump against the monotonic clock: set
// by hand or by a daemon, or a leap second. Jumps are looked for whenever the
// quality is read anew.
func (c *Clock) Steps() uint64 { return c.steps.Load() }

// Quality returns what the kernel says of its clock, as of Refresh before now
// at the most. It costs one adjtimex(2) a second, and only while somebody asks.
// What is returned is not changed any more.
func (c *Clock) Quality(now time.Time) *Quality {
	q := c.last.Load()
	if q.fresh(now) {
		return q
	}
	c.refresh.Lock()
	defer c.refresh.Unlock()
	if q := c.last.Load(); q.fresh(now) {
		return q // somebody else has been at it
	}
	c.watch()
	state, err := c.kernel.State()
	q = &Quality{State: state, Err: err, At: now}
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
	return -Refresh < age && age < Refresh
}

// stepSize is what the wall clock and the monotonic clock may differ by between
// two readings and still not count as a step: they are read one after the
// other, and a busy host may stop us in between.
const stepSize = 10 * time.Millisecond

// watch counts steps. The kernel slews both clocks alike, so only a step moves
// one against the other.
func (c *Clock) watch() {
	ahead := c.ahead()
	if (ahead - c.was).Abs() > stepSize {
		if ahead = c.ahead(); (ahead - c.was).Abs() > stepSize { // we were not just stopped in between
			c.steps.Add(1)
		}
	}
	c.was = ahead
}

// ahead is how far the wall clock is ahead of where the monotonic clock would
// have it.
func (c *Clock) ahead() time.Duration {
	return c.now().Round(0).Sub(c.start.Round(0)) - c.mono()
}
