package clock

import "time"

// Measurement is what a comparison with a time server showed.
type Measurement struct {
	Server string        // who was asked, for people
	At     time.Time     // when, by this clock
	Offset time.Duration // what was to be added to the time to have the server's
	Bound  time.Duration // how far off the true time that may be: half the round trip and the server's root distance
	Life   time.Duration // how long after At this is of use

	// What the server said, for those who get their time from here: RFC 5905,
	// section 7.3.
	Stratum   uint8
	RefID     [4]byte       // of the server itself
	RootDelay time.Duration // with the round trip to the server
	Leap      Leap
}

// Measured makes m known. From now on qualities carry it, until it is Life old,
// the clock is stepped, or another takes its place. A measurement that is old
// or from before a step already is forgotten at once.
func (c *Clock) Measured(m Measurement) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch()
	c.measured = nil
	now := c.now()
	if step(m.At, now).Abs() < stepSize {
		c.measured = &measured{Measurement: m, steps: c.steps.Load(), ahead: c.aheadOfRaw()}
	}
	c.refresh(now)
}

// measured is a Measurement and how the clock stood when it became known.
type measured struct {
	Measurement
	steps uint64        // Steps
	ahead time.Duration // aheadOfRaw
}

func (m *measured) stale(now time.Time) bool {
	age := now.Sub(m.At)
	return age >= m.Life || age <= -Refresh
}

// widened returns the measurement with a bound that allows for what the time
// was slewed by since. A clock can be slewed much faster than drift (chronyd
// does so by up to 8 % unless it is told otherwise), and the offset that was
// measured is gone then.
func (m *measured) widened(ahead time.Duration) *Measurement {
	w := m.Measurement
	w.Bound += (ahead - m.ahead).Abs()
	return &w
}

// interval returns between what the true time less this clock's is at t. The
// bound has grown by Drift since the measurement, whether or not the kernel
// says that it is synchronised: RFC 5905 lets errors grow by 15 ppm (PHI), but
// that is for a clock whose frequency is known and that nobody moves meanwhile.
// This one may be free-running or just be steered, and 500 ppm covers both.
func (m *Measurement) interval(t time.Time) interval {
	b := m.Bound + max(0, t.Sub(m.At))/(time.Second/Drift) + 1
	return interval{m.Offset - b, m.Offset + b}
}
