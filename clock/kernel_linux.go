package clock

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Host returns the kernel of this host. Reading its state needs no privilege.
func Host() Kernel { return host{} }

type host struct{}

func (host) State() (State, error) {
	var t unix.Timex // without modes, adjtimex only reads
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return State{}, fmt.Errorf("adjtimex: %w", err)
	}
	return fromTimex(&t, state), nil
}

// fromTimex converts the result of adjtimex(2): t and its return value.
func fromTimex(t *unix.Timex, state int) State {
	s := State{
		Faulty:   faulty(t.Status),
		MaxError: time.Duration(t.Maxerror) * time.Microsecond,
		EstError: time.Duration(t.Esterror) * time.Microsecond,
		Offset:   time.Duration(t.Offset),
		TAI:      int(t.Tai),
	}
	if t.Status&unix.STA_NANO == 0 {
		s.Offset *= 1000 // t.Offset is in microseconds
	}
	switch {
	case state == unix.TIME_WAIT: // the leap second is over, and the daemon has not cleared the bit yet
	case t.Status&unix.STA_INS != 0:
		s.Leap = LeapInsert
	case t.Status&unix.STA_DEL != 0:
		s.Leap = LeapDelete
	}
	return s
}

// faulty is is_error_status of the kernel's ntp.c without STA_UNSYNC.
func faulty(status int32) bool {
	has := func(bits int32) bool { return status&bits != 0 }
	return has(unix.STA_CLOCKERR) ||
		has(unix.STA_PPSFREQ|unix.STA_PPSTIME) && !has(unix.STA_PPSSIGNAL) ||
		has(unix.STA_PPSTIME) && has(unix.STA_PPSJITTER) ||
		has(unix.STA_PPSFREQ) && has(unix.STA_PPSWANDER|unix.STA_PPSERROR)
}

// hostRaw returns a reader of the host's unsteered clock: CLOCK_MONOTONIC_RAW,
// clock_gettime(2). It returns nil if there is none.
func hostRaw() func() time.Duration {
	read := func() time.Duration {
		var t unix.Timespec
		if unix.ClockGettime(unix.CLOCK_MONOTONIC_RAW, &t) != nil {
			return -1
		}
		return time.Duration(t.Nano())
	}
	start := read()
	if start < 0 {
		return nil
	}
	return func() time.Duration { return read() - start }
}
