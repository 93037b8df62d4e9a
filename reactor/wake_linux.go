package reactor

import (
	"os"

	"golang.org/x/sys/unix"
)

func openWake() (rfd, wfd int, err error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return fd, fd, os.NewSyscallError("eventfd", err)
}

// signal makes the descriptor readable: eventfd(2) takes a number to add. A
// counter that is full is readable too, so the error does not matter.
func (w *wake) signal() { _, _ = unix.Write(w.wfd, []byte{1, 1, 1, 1, 1, 1, 1, 0}) }
