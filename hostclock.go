//go:build !fakeclock

package main

import "nowd/clock"

// newClock returns the clock that is told.
func (c *config) newClock() (*clock.Clock, error) {
	return clock.From(clock.Config{Floor: c.ClockErrorFloor}), nil
}
