//go:build fakeclock

package service

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nowd/clock"
)

// fakeTime is whether answers may carry another time than the host's.
const fakeTime = true

// newClock returns a clock in the state of the variable FAKE_CLOCK, such as
// {"max_error_ns": 5000000, "shift_ns": 200000000}. So tests can have a synchronised or a
// wrong clock on any machine. Without the variable newClock returns the host's clock.
// Only builds with the tag fakeclock have this function.
func newClock(c clock.Config) (*clock.Clock, error) {
	text := os.Getenv("FAKE_CLOCK")
	if text == "" {
		return clock.New(c), nil
	}
	f := new(fakeKernel)
	if err := json.Unmarshal([]byte(text), f); err != nil {
		return nil, fmt.Errorf("FAKE_CLOCK=%q: %w", text, err)
	}
	fake.Store(f)
	c.Now, c.Kernel = fakeNow, &fake
	return clock.New(c), nil
}

// fake is the state of the clock; nil inside for the host's clock.
var fake fakeState

type fakeState struct{ atomic.Pointer[fakeKernel] }

type fakeKernel struct {
	MaxError time.Duration `json:"max_error_ns"`
	EstError time.Duration `json:"est_error_ns"`
	Offset   time.Duration `json:"offset_ns"`
	Leap     clock.Leap    `json:"leap"`
	TAI      int           `json:"tai_offset_s"`
	Shift    time.Duration `json:"shift_ns"` // of the wall clock
	Stepped  bool          `json:"stepped"`  // this state came with a step
}

func (s *fakeState) State() (clock.State, error) {
	f := s.Load()
	return clock.State{MaxError: f.MaxError, EstError: f.EstError, Offset: f.Offset, Leap: f.Leap, TAI: f.TAI}, nil
}

// fakeNow returns the host's time with the wall clock shifted, and the monotonic clock
// not. It writes the fields that package time describes at time.Time.
func fakeNow() time.Time {
	now := time.Now()
	wall := now.Round(0).Add(fake.Load().Shift)
	seconds := wall.Unix() - time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	*(*uint64)(unsafe.Pointer(&now)) = 1<<63 | uint64(seconds)<<30 | uint64(wall.Nanosecond())
	return now
}

// newStepWatch returns a watch for the steps of the clock. A fake clock's watch reads new
// states from the named pipe FAKE_CLOCK_EVENTS; a state with "stepped": true is a step.
func newStepWatch() (stepWatch, error) {
	if fake.Load() == nil {
		return clock.WatchSteps()
	}
	path := os.Getenv("FAKE_CLOCK_EVENTS")
	if path == "" {
		return nil, errors.ErrUnsupported
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	return fakeEvents(fd), err
}

type fakeEvents int

func (e fakeEvents) FD() int      { return int(e) }
func (e fakeEvents) Close() error { return unix.Close(int(e)) }

func (e fakeEvents) Stepped() (stepped bool, err error) {
	b := make([]byte, unix.PathMax)
	n, err := unix.Read(int(e), b)
	if errors.Is(err, unix.EAGAIN) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for d := json.NewDecoder(bytes.NewReader(b[:n])); ; {
		f := new(fakeKernel)
		if err := d.Decode(f); errors.Is(err, io.EOF) {
			return stepped, nil
		} else if err != nil {
			return stepped, err
		}
		fake.Store(f)
		stepped = stepped || f.Stepped
	}
}
