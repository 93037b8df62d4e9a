package xdp

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// readClocks reads the host's clocks: clock_gettime(2). It reads them several times and
// returns the reading with the least slack, since the process may be preempted in between.
func readClocks() (best clocks, err error) {
	best.slack = math.MaxInt64
	for range 5 {
		var t [4]unix.Timespec
		for i, id := range []int32{unix.CLOCK_MONOTONIC, unix.CLOCK_TAI, unix.CLOCK_REALTIME, unix.CLOCK_MONOTONIC} {
			if err := unix.ClockGettime(id, &t[i]); err != nil {
				return best, err
			}
		}
		first, last := t[0].Nano(), t[3].Nano()
		if took := last - first; took < best.slack {
			best = clocks{utc: t[2].Nano(), tai: t[1].Nano(), mono: first + took/2, slack: took}
		}
	}
	best.slack = max(best.slack, int64(time.Microsecond))
	return best, nil
}
