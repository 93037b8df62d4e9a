package reactor

import (
	"os"

	"golang.org/x/sys/unix"
)

func openWake() (readFD, writeFD int, err error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	return fd, fd, os.NewSyscallError("eventfd", err)
}

// signal makes the descriptor readable by adding to its counter: eventfd(2). A
// full counter is readable too, so an error does not matter.
func (w *wake) signal() { _, _ = unix.Write(w.writeFD, []byte{1, 1, 1, 1, 1, 1, 1, 0}) }
