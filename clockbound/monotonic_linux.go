package clockbound

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// monotonicClock reads CLOCK_MONOTONIC without a system call: time.Now reads it as
// well, but from a zero of its own.
type monotonicClock struct {
	start time.Time     // a reading of time.Now
	mono  time.Duration // CLOCK_MONOTONIC at most this when start was read
}

// newMonotonicClock finds out what CLOCK_MONOTONIC is at a reading of time.Now.
// What it cannot tell, because the two are read one after the other, makes the
// clock fast: a snapshot seems older than it is, and its bound larger.
func newMonotonicClock() (monotonicClock, error) {
	var best monotonicClock
	least := time.Hour
	for range 16 {
		before, err := read(unix.CLOCK_MONOTONIC)
		if err != nil {
			return monotonicClock{}, err
		}
		start := time.Now()
		after, err := read(unix.CLOCK_MONOTONIC)
		if err != nil {
			return monotonicClock{}, err
		}
		if after-before < least {
			least, best = after-before, monotonicClock{start, after}
		}
	}
	return best, nil
}

// at returns CLOCK_MONOTONIC at a reading of time.Now, or slightly more.
func (c *monotonicClock) at(now time.Time) time.Duration { return c.mono + now.Sub(c.start) }

// AsOf returns the AsOf of a Snapshot that is made of what is read from now on:
// CLOCK_MONOTONIC_COARSE, clock_gettime(2). It is up to CoarseStep behind
// CLOCK_MONOTONIC, and never ahead of it. So is the clock that some clients read.
func AsOf() (time.Duration, error) { return read(unix.CLOCK_MONOTONIC_COARSE) }

func read(clock int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(t.Nano()), nil
}

// inMemory reports whether a file does not outlive the boot of the host: it is on a
// tmpfs.
func inMemory(file *os.File) bool {
	var s unix.Statfs_t
	return unix.Fstatfs(int(file.Fd()), &s) == nil && int64(s.Type) == unix.TMPFS_MAGIC
}
