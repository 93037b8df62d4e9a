//go:build !fakeclock

package service

import "nowd/clock"

// fakeTime says whether the answers may carry another time than the host's.
const fakeTime = false

// newClock returns the clock whose time the answers carry.
func newClock(c clock.Config) (*clock.Clock, error) { return clock.New(c), nil }

// newStepWatch returns what announces the steps of that clock.
func newStepWatch() (stepWatch, error) { return clock.WatchSteps() }
