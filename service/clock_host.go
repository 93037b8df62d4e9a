//go:build !fakeclock

package service

import (
	"nowd/clock"
	"nowd/config"
)

// fakeTime says whether the answers may carry another time than the host's.
const fakeTime = false

// newClock returns the clock whose time the answers carry.
func newClock(c *config.Config) (*clock.Clock, error) {
	return clock.New(clock.Config{Floor: c.ClockErrorFloor}), nil
}
