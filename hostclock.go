//go:build !fakeclock

package main

import "nowd/clock"

// fakeTime is whether the time that is told may not be the host's.
const fakeTime = false

// newClock returns the clock that is told.
func (c *config) newClock() (*clock.Clock, error) {
	return clock.From(clock.Config{Floor: c.ClockErrorFloor}), nil
}
