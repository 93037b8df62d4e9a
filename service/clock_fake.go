//go:build fakeclock

package service

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"nowd/clock"
	"nowd/config"
)

// fakeTime says whether the answers may carry another time than the host's.
const fakeTime = true

// newClock returns a clock in the state that the variable FAKE_CLOCK tells, so
// that tests can have a synchronised one, or one that is wrong, on a machine
// that has neither: {"max_error_ns": 5000000, "shift_ns": 200000000}. Without
// the variable it is the host's. Only a build with the tag fakeclock has this.
func newClock(c *config.Config) (*clock.Clock, error) {
	text := os.Getenv("FAKE_CLOCK")
	if text == "" {
		return clock.New(clock.Config{Floor: c.ClockErrorFloor}), nil
	}
	var f fakeKernel
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return nil, fmt.Errorf("FAKE_CLOCK=%q: %w", text, err)
	}
	now := func() time.Time { return time.Now().Add(f.Shift) }
	return clock.New(clock.Config{Floor: c.ClockErrorFloor, Now: now, Kernel: f}), nil
}

type fakeKernel struct {
	MaxError time.Duration `json:"max_error_ns"`
	EstError time.Duration `json:"est_error_ns"`
	Offset   time.Duration `json:"offset_ns"`
	Leap     clock.Leap    `json:"leap"`
	TAI      int           `json:"tai_offset_s"`
	Shift    time.Duration `json:"shift_ns"` // of the time
}

func (f fakeKernel) State() (clock.State, error) {
	return clock.State{MaxError: f.MaxError, EstError: f.EstError, Offset: f.Offset, Leap: f.Leap, TAI: f.TAI}, nil
}
