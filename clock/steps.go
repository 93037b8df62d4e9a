package clock

import "time"

// stepSize is how far the wall clock must move against the monotonic clock to
// count as a step if the kernel announces none. The two clocks are read one after
// the other, and a busy host may stop the process in between.
const stepSize = 10 * time.Millisecond

// step returns how far the wall clock stepped forward between two readings,
// against the monotonic clock. It returns 0 if one of them has no monotonic part.
func step(from, to time.Time) time.Duration {
	return to.Round(0).Sub(from.Round(0)) - to.Sub(from)
}

// steps is the history of the clock's steps.
type steps struct {
	count           uint64
	size            time.Duration // of the last step
	at              time.Time     // when the last step was noticed
	ahead           time.Duration // step since New, as of the last comparison of the clocks
	disrupted       bool          // the clock is not confirmed since the last step
	announcementDue bool          // the last step was found by comparison: its announcement may follow
}

// announcementDelay is an upper bound on how long after a step its announcement is
// handled. A later announcement is that of another step.
const announcementDelay = time.Second

// Steps returns the number of steps seen. The time steps when a person or a daemon
// sets it, and at a leap second.
//
// Each call of Stepped counts one step. Each refresh of the Quality also compares
// the wall clock with the monotonic clock. The kernel slews both alike, so only a
// step moves one against the other. Several unannounced steps between two
// comparisons count as one, or as none if their sum is 10 ms or less.
func (c *Clock) Steps() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steps.count
}

// Stepped counts a step that the kernel has announced: the time was set, perhaps to
// what it was. It drops the measurement and refreshes the Quality. It does not count
// a step twice that a comparison has just found.
func (c *Clock) Stepped() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	s := &c.steps
	moved := s.moved(step(c.start, now))
	if s.announcementDue && moved.Abs() <= stepSize && now.Sub(s.at) < announcementDelay {
		s.announcementDue = false // lookForStep has counted this step
	} else {
		s.add(moved, now)
	}
	c.refresh(now)
}

// lookForStep compares the clocks, and counts a step since the last comparison.
// c.mu must be held.
func (c *Clock) lookForStep() {
	now := c.now()
	if (step(c.start, now) - c.steps.ahead).Abs() > stepSize {
		now = c.now() // the process may have been stopped between reading the two clocks
	}
	if moved := c.steps.moved(step(c.start, now)); moved.Abs() > stepSize {
		c.steps.add(moved, now)
		c.steps.announcementDue = true
	}
}

// moved returns how far the time has stepped since the last call. ahead is the
// step since New.
func (s *steps) moved(ahead time.Duration) time.Duration {
	moved := ahead - s.ahead
	s.ahead = ahead
	return moved
}

// add counts a step, which was noticed at a time. The clock is then disrupted.
func (s *steps) add(size time.Duration, at time.Time) {
	s.count++
	s.size, s.at = size, at
	s.disrupted, s.announcementDue = true, false
}

// judge sets q.disrupted. before is the previous Quality, or nil.
func (s *steps) judge(before, q *Quality) {
	agreed := q.upstream != nil && !q.contradicted
	if agreed || before != nil && q.claimsAnew(before) {
		s.disrupted = false
	}
	q.disrupted = s.disrupted
}

// claimsAnew reports whether a daemon has written the kernel's bound between before
// and q, and after the steps in between.
//
// When the time is set, the kernel drops the bound. At a leap second it does not. So
// the bound is new only if it is not what before's has grown to. If a new bound and a
// leap second come after the same Quality, their order is unknown; then the bound
// counts as new only if q is at most two seconds after before.
func (q *Quality) claimsAnew(before *Quality) bool {
	elapsed := q.At.Sub(before.At)
	if !q.kernelClaims() || q.Steps != before.Steps && elapsed > 2*refreshInterval {
		return false
	}
	most := before.MaxError + (elapsed/time.Second+2)*MaxDrift
	return !before.kernelClaims() || q.MaxError < before.MaxError || q.MaxError > most
}
