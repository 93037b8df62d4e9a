package clock

import "time"

// stepSize is the least difference between the wall clock and the monotonic
// clock that counts as a step without an announcement. The two are read one after
// the other, and a busy host may stop the process in between.
const stepSize = 10 * time.Millisecond

// step returns how far the wall clock stepped forward against the monotonic one
// between two readings, and 0 if one of them has no monotonic part.
func step(from, to time.Time) time.Duration {
	return to.Round(0).Sub(from.Round(0)) - to.Sub(from)
}

// steps are the steps that were seen.
type steps struct {
	count     uint64
	size      time.Duration // of the last one
	at        time.Time     // when the last one was noticed
	ahead     time.Duration // step since the clock was made, when it was last looked for
	disrupted bool          // by the last one, and nobody has vouched for the clock since
	expected  bool          // the last one was found by comparison: its announcement may follow
}

// announcementDelay is an upper bound on how long after a step its announcement is
// handled. A later one is that of another step.
const announcementDelay = time.Second

// Steps returns how often the time was seen to step: set by hand or by a daemon, or
// by a leap second. A step is seen when Stepped is called, or by comparison with the
// monotonic clock whenever the quality is refreshed, however seldom that is: the
// kernel slews both clocks alike, so only a step moves one against the other. Several
// steps between two looks count as one; if none of them was announced, and together
// they are shorter than 10 ms, as none.
func (c *Clock) Steps() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steps.count
}

// Stepped tells the clock that the kernel has announced a step: that the time was
// set, if only to what it was. It ends the measurement and asks the kernel.
func (c *Clock) Stepped() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	s := &c.steps
	moved := s.moved(step(c.start, now))
	if s.expected && moved.Abs() <= stepSize && now.Sub(s.at) < announcementDelay {
		s.expected = false // counted already
	} else {
		s.add(moved, now)
	}
	c.refresh(now)
}

// lookForStep counts a step since it last looked. c.mu must be held.
func (c *Clock) lookForStep() {
	now := c.now()
	if (step(c.start, now) - c.steps.ahead).Abs() > stepSize {
		now = c.now() // the process may just have been stopped between the two clocks
	}
	if moved := c.steps.moved(step(c.start, now)); moved.Abs() > stepSize {
		c.steps.add(moved, now)
		c.steps.expected = true
	}
}

// moved returns how far the time has stepped since it was last asked; ahead is the
// step since the clock was made.
func (s *steps) moved(ahead time.Duration) time.Duration {
	moved := ahead - s.ahead
	s.ahead = ahead
	return moved
}

// add counts a step of a size that was noticed at a time. The clock is disrupted.
func (s *steps) add(size time.Duration, at time.Time) {
	s.count++
	s.size, s.at = size, at
	s.disrupted, s.expected = true, false
}

// judge decides whether q is disrupted. Of the Quality before it, which may be nil,
// it sees whether the claim of the kernel is another one.
func (s *steps) judge(before, q *Quality) {
	agreed := q.upstream != nil && !q.contradicted
	if agreed || before != nil && q.claimsAnew(before) {
		s.disrupted = false
	}
	q.disrupted = s.disrupted
}

// claimsAnew reports whether somebody has set the kernel's claim between before and
// q, and after the steps in between. When the time is set, the kernel withdraws the
// claim. In a leap second it does not, so a claim counts only if it is not what
// before has grown to. If a claim and a leap second come after the same Quality,
// their order is unknown; such a claim counts for two seconds at most.
func (q *Quality) claimsAnew(before *Quality) bool {
	elapsed := q.At.Sub(before.At)
	if !q.kernelClaims() || q.Steps != before.Steps && elapsed > 2*refreshInterval {
		return false
	}
	most := before.MaxError + (elapsed/time.Second+2)*MaxDrift
	return !before.kernelClaims() || q.MaxError < before.MaxError || q.MaxError > most
}
