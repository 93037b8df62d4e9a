//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package reactor

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func openWake() (readFD, writeFD int, err error) {
	var p [2]int
	syscall.ForkLock.RLock() // pipe(2) does not set close-on-exec atomically
	defer syscall.ForkLock.RUnlock()
	if err := unix.Pipe(p[:]); err != nil {
		return 0, 0, os.NewSyscallError("pipe", err)
	}
	for _, fd := range p {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			_ = unix.Close(p[0])
			_ = unix.Close(p[1])
			return 0, 0, os.NewSyscallError("fcntl", err)
		}
	}
	return p[0], p[1], nil
}

// signal makes the descriptor readable. A full pipe is readable too, so an error
// does not matter.
func (w *wake) signal() { _, _ = unix.Write(w.writeFD, []byte{1}) }
