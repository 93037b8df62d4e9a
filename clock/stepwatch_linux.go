package clock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// StepWatch makes the kernel announce the steps of the host's clock:
// timerfd_create(2), TFD_TIMER_CANCEL_ON_SET. It needs no privilege, and costs nothing
// until there is a step. One goroutine at a time may call its methods.
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

// never is when the timer expires: later than any time that a clock can be set to,
// which is the year 2232 (TIME_SETTOD_SEC_MAX of the kernel, settimeofday(2)).
const never = 1 << 33 // in the year 2242

// arm sets the timer so that the next step cancels it. If a step came just before,
// the caller knows of it, or sees it when it next reads the clock.
func (w *StepWatch) arm() error {
	at := unix.ItimerSpec{Value: unix.Timespec{Sec: never}}
	err := unix.TimerfdSettime(w.fd, unix.TFD_TIMER_ABSTIME|unix.TFD_TIMER_CANCEL_ON_SET, &at, nil)
	if errors.Is(err, unix.ECANCELED) { // a step came just before; the timer is armed
		return nil
	}
	return os.NewSyscallError("timerfd_settime", err)
}

// FD returns a non-blocking descriptor that is readable after a step.
func (w *StepWatch) FD() int { return w.fd }

// Stepped reports whether there was a step since the last call. The caller must read
// the clock after this call, not before.
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
