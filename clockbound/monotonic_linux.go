package clockbound

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// monotonicClock reads CLOCK_MONOTONIC without a system call. time.Now reads it too,
// but counts from another moment.
type monotonicClock struct {
	start time.Time     // a reading of time.Now
	mono  time.Duration // an upper bound on CLOCK_MONOTONIC when start was read
}

// newMonotonicClock reads time.Now and CLOCK_MONOTONIC together. The time between the
// two readings makes the clock fast, never slow. Then a snapshot seems older than it
// is, and its bound is larger.
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

// AsOf returns CLOCK_MONOTONIC_COARSE, clock_gettime(2), for the AsOf of a Snapshot.
// Call it before reading the clock's error for that Snapshot. The clock is up to
// CoarseStep behind CLOCK_MONOTONIC, and never ahead of it. Some clients read this
// clock as well.
func AsOf() (time.Duration, error) { return read(unix.CLOCK_MONOTONIC_COARSE) }

func read(clock int32) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(t.Nano()), nil
}

// inMemory reports whether a file is on a tmpfs. Such a file is not from before the
// host was booted.
func inMemory(file *os.File) bool {
	var s unix.Statfs_t
	return unix.Fstatfs(int(file.Fd()), &s) == nil && int64(s.Type) == unix.TMPFS_MAGIC
}
