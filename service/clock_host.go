//go:build !fakeclock

package service

import "nowd/clock"

// fakeTime is whether answers may carry another time than the host's.
const fakeTime = false

// newClock returns the host's clock.
func newClock(c clock.Config) (*clock.Clock, error) { return clock.New(c), nil }

// newStepWatch returns a watch for the steps of the host's clock.
func newStepWatch() (stepWatch, error) { return clock.WatchSteps() }
