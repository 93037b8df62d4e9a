//go:build !linux

package clockbound

import (
	"errors"
	"os"
	"time"
)

type monotonicClock struct{}

func newMonotonicClock() (monotonicClock, error) { return monotonicClock{}, errors.ErrUnsupported }

func (*monotonicClock) at(time.Time) time.Duration { return 0 }

// AsOf returns errors.ErrUnsupported: only Linux has CLOCK_MONOTONIC_COARSE.
func AsOf() (time.Duration, error) { return 0, errors.ErrUnsupported }

func inMemory(*os.File) bool { return false }
