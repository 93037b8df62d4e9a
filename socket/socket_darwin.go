package socket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func create(family, kind int) (int, error) {
	syscall.ForkLock.RLock() // there is no flag that would set close-on-exec at once
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, kind, 0)
	return prepared(fd, err)
}

// unfragmented is for kernels that can be talked into fragmenting.
func unfragmented(fd, family int) error { return nil }

// Accept takes a connection off a listener's queue, in non-blocking mode and
// close-on-exec. It returns EAGAIN where there is none.
func Accept(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	conn, _, err := unix.Accept(fd)
	return prepared(conn, err)
}

func prepared(fd int, err error) (int, error) {
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Read reads from a non-blocking socket. At the end of what the peer sends it
// returns 0.
func Read(fd int, b []byte) (int, error) { return unix.Read(fd, b) }

// Write writes to a non-blocking socket as much as it has room for. A
// connection that is gone gives EPIPE; Go keeps the signal from doing harm.
func Write(fd int, b []byte) (int, error) { return unix.Write(fd, b) }

// Unsent returns how many bytes written to a connection its peer has not
// acknowledged yet. It returns 0 where that is not known.
func Unsent(fd int) int {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
	if err != nil {
		return 0
	}
	return n
}

// Drops is not told by this system.
func Drops(fd int) (uint32, error) { return 0, unix.ENOTSUP }
