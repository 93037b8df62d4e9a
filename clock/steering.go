package clock

import "time"

// Unsteered returns the time since New by the unsteered clock:
// CLOCK_MONOTONIC_RAW, clock_gettime(2). It drifts by MaxDrift per second at
// most. Without an unsteered clock it is the time by the monotonic clock.
func (c *Clock) Unsteered() time.Duration {
	if c.raw == nil {
		return c.now().Sub(c.start)
	}
	return c.raw()
}

// Steered returns how far the clock has been moved since New, by steps and by
// slews: the difference between it and Unsteered. The interval is as wide as the
// time that it took to read the two.
func (c *Clock) Steered() Interval {
	best := c.readSteered()
	for range 3 { // the process may have been stopped between two readings
		if best.High-best.Low < closeReading {
			break
		}
		if again := c.readSteered(); again.High-again.Low < best.High-best.Low {
			best = again
		}
	}
	return best
}

// closeReading is the width from which on Steered reads the clocks again.
const closeReading = 5 * time.Microsecond

// readSteered reads the two clocks once.
func (c *Clock) readSteered() Interval {
	if c.raw == nil {
		s := step(c.start, c.now())
		return Interval{s, s}
	}
	before := c.raw()
	elapsed := c.elapsed()
	return Interval{AddSaturated(elapsed, -c.raw()), AddSaturated(elapsed, -before)}
}
