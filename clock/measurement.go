package clock

import "time"

// Measurement is the result of a comparison of this clock with a time server.
type Measurement struct {
	Server string        // the server's address, for display
	At     time.Time     // when it was made, by this clock
	Offset time.Duration // of the server's clock from this one; positive if the server's is ahead
	Bound  time.Duration // on how far true time is from this clock plus Offset: half the round trip, and the server's root distance
	Life   time.Duration // how long after At the measurement is valid

	// Fields of the server's answer, for the answers to this host's clients: RFC
	// 5905, section 7.3.
	Stratum   uint8
	RefID     [4]byte       // of the server itself
	RootDelay time.Duration // including the round trip to the server
	Leap      Leap
}

// Interval returns where the true time lay at At, as an offset from this clock.
func (m *Measurement) Interval() Interval { return Around(m.Offset, m.Bound) }

// intervalAt returns where the true time lies at t, as an offset from this
// clock. The bound grows by drift from At on, even while the kernel says that the
// clock is synchronised. RFC 5905 lets errors grow by 15 ppm (PHI), for an
// unsteered clock of known frequency. This clock may be free-running or being
// steered, and 500 ppm covers both.
func (m *Measurement) intervalAt(t time.Time) Interval {
	return Around(m.Offset, m.Bound+DriftOver(max(0, t.Sub(m.At)))+1)
}

// SetMeasurement replaces the measurement. Each Quality then has m, until m is
// Life old, the clock is stepped, or another measurement replaces it. If m is too
// old already, or from before a step, there is no measurement any more.
func (c *Clock) SetMeasurement(m Measurement) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lookForStep()
	c.measurement = nil
	now := c.now()
	if step(m.At, now).Abs() < stepSize && (c.steps.count == 0 || !m.At.Before(c.steps.at)) {
		c.measurement = &heldMeasurement{Measurement: m, steps: c.steps.count, ahead: c.aheadOfRaw()}
	}
	c.refresh(now)
}

// heldMeasurement is a Measurement, and the clock's steering when it was set.
type heldMeasurement struct {
	Measurement
	steps uint64        // Steps
	ahead time.Duration // aheadOfRaw
}

// expired reports whether the measurement is older than Life at now, or from the
// future.
func (m *heldMeasurement) expired(now time.Time) bool {
	age := now.Sub(m.At)
	return age >= m.Life || age <= -refreshInterval
}

// slewed returns the measurement with its bound widened by what the clock was
// slewed by since. ahead is the current aheadOfRaw. A slew changes the offset
// from the server, and can be much faster than drift: up to 8 % by chronyd's
// defaults.
func (m *heldMeasurement) slewed(ahead time.Duration) *Measurement {
	w := m.Measurement
	w.Bound += (ahead - m.ahead).Abs()
	return &w
}
