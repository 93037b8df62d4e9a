package clock

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTimexUnitsAreConverted(t *testing.T) {
	tx := unix.Timex{Offset: -1500, Maxerror: 2500, Esterror: 70, Tai: 37, Status: unix.STA_INS | unix.STA_UNSYNC}
	want := State{
		MaxError: 2500 * time.Microsecond, EstError: 70 * time.Microsecond,
		Offset: -1500 * time.Microsecond, Leap: LeapInsert, TAI: 37,
	}
	if got := fromTimex(&tx, unix.TIME_INS); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	tx.Status = unix.STA_NANO | unix.STA_DEL
	want.Offset, want.Leap = -1500, LeapDelete
	if got := fromTimex(&tx, unix.TIME_DEL); got != want {
		t.Errorf("with STA_NANO got %+v, want %+v", got, want)
	}
	for state, want := range map[int]Leap{unix.TIME_OK: LeapDelete, unix.TIME_OOP: LeapDelete, unix.TIME_WAIT: LeapNone, unix.TIME_ERROR: LeapDelete} {
		if got := fromTimex(&tx, state).Leap; got != want {
			t.Errorf("in state %d: leap %v, want %v", state, got, want)
		}
	}
}

func TestUnsyncBitAloneIsNoFault(t *testing.T) {
	for status, want := range map[int32]bool{
		0:                                       false,
		unix.STA_UNSYNC:                         false,
		unix.STA_PLL | unix.STA_NANO:            false,
		unix.STA_CLOCKERR:                       true,
		unix.STA_PPSFREQ:                        true,
		unix.STA_PPSFREQ | unix.STA_PPSSIGNAL:   false,
		unix.STA_PPSTIME | unix.STA_PPSSIGNAL:   false,
		unix.STA_PPSSIGNAL | unix.STA_PPSJITTER: false,
		unix.STA_PPSTIME | unix.STA_PPSSIGNAL | unix.STA_PPSJITTER: true,
		unix.STA_PPSFREQ | unix.STA_PPSSIGNAL | unix.STA_PPSWANDER: true,
		unix.STA_PPSFREQ | unix.STA_PPSSIGNAL | unix.STA_PPSERROR:  true,
	} {
		if got := faulty(status); got != want {
			t.Errorf("status %#x: %v, want %v", status, got, want)
		}
	}
}
