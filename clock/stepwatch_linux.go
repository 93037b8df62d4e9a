package clock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// StepWatch has the kernel announce the steps of the host's clock: timerfd_create(2),
// TFD_TIMER_CANCEL_ON_SET. It needs no privilege, and costs nothing while there is no
// step. Its methods are not for several goroutines at a time.
type StepWatch struct{ fd int }

// WatchSteps returns a StepWatch.
func WatchSteps() (*StepWatch, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	w := &StepWatch{fd}
	if err := w.arm(); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return w, nil
}

// never is later than a clock can be set to, which is the year 2232 (settimeofday(2),
// TIME_SETTOD_SEC_MAX of the kernel), so that the timer does not expire.
const never = 1 << 33 // in the year 2242

// arm has the timer cancelled by the next step. A step since the last arm is one that
// the caller knows of, or sees when it reads the clock now.
func (w *StepWatch) arm() error {
	at := unix.ItimerSpec{Value: unix.Timespec{Sec: never}}
	err := unix.TimerfdSettime(w.fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &at, nil)
	if errors.Is(err, unix.ECANCELED) { // by a step just now; it is armed all the same
		return nil
	}
	return os.NewSyscallError("timerfd_settime", err)
}

// FD returns the descriptor that becomes readable when there was a step. It does not
// block.
func (w *StepWatch) FD() int { return w.fd }

// Stepped reports whether there was a step since the last call. If so, read the clock
// after it, not before.
func (w *StepWatch) Stepped() (bool, error) {
	var expirations [8]byte
	for {
		_, err := unix.Read(w.fd, expirations[:])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case errors.Is(err, unix.ECANCELED):
			return true, w.arm()
		default:
			return false, os.NewSyscallError("read", err)
		}
	}
}

// Close closes the descriptor.
func (w *StepWatch) Close() error { return unix.Close(w.fd) }
