package clock

import "time"

// Unsteered returns the time since the clock was made, by an oscillator that
// nobody steers: CLOCK_MONOTONIC_RAW, clock_gettime(2). It drifts by MaxDrift at
// most. Where there is none, it is the monotonic clock's.
func (c *Clock) Unsteered() time.Duration {
	if c.raw == nil {
		return c.now().Sub(c.start)
	}
	return c.raw()
}

// Steered returns how far the clock has been moved since it was made, by steps
// and by slews, against Unsteered. The interval is as wide as it took to read the
// two.
func (c *Clock) Steered() Interval {
	best := c.readSteered()
	for range 3 { // the process may just have been stopped between two readings
		if best.High-best.Low < closeReading {
			break
		}
		if again := c.readSteered(); again.High-again.Low < best.High-best.Low {
			best = again
		}
	}
	return best
}

// closeReading is how wide a reading of Steered may be without another try.
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
