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
	var t unix.Timex // no mode is set, so nothing is changed
	if _, err := unix.Adjtimex(&t); err != nil {
		return State{}, fmt.Errorf("adjtimex: %w", err)
	}
	return fromTimex(&t), nil
}

func fromTimex(t *unix.Timex) State {
	s := State{
		Faulty:   faulty(t.Status),
		MaxError: time.Duration(t.Maxerror) * time.Microsecond,
		EstError: time.Duration(t.Esterror) * time.Microsecond,
		Offset:   time.Duration(t.Offset),
		TAI:      int(t.Tai),
	}
	if t.Status&unix.STA_NANO == 0 {
		s.Offset *= 1000 // it was in microseconds
	}
	switch {
	case t.Status&unix.STA_INS != 0:
		s.Leap = LeapInsert
	case t.Status&unix.STA_DEL != 0:
		s.Leap = LeapDelete
	}
	return s
}

// faulty is is_error_status of the kernel's ntp.c, less STA_UNSYNC.
func faulty(status int32) bool {
	has := func(bits int32) bool { return status&bits != 0 }
	return has(unix.STA_CLOCKERR) ||
		has(unix.STA_PPSFREQ|unix.STA_PPSTIME) && !has(unix.STA_PPSSIGNAL) ||
		has(unix.STA_PPSTIME) && has(unix.STA_PPSJITTER) ||
		has(unix.STA_PPSFREQ) && has(unix.STA_PPSWANDER|unix.STA_PPSERROR)
}
