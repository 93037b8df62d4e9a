package socket

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func newSocket(family, kind int) (int, error) {
	syscall.ForkLock.RLock() // socket(2) does not set close-on-exec atomically
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(family, kind, 0)
	return setNonblockCloexec(fd, err)
}

// setDontFragment does nothing: see socket_linux.go.
func setDontFragment(fd, family int) error { return nil }

// Accept accepts a connection from a listener, in non-blocking mode and
// close-on-exec. The error is EAGAIN if the accept queue is empty.
func Accept(fd int) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	conn, _, err := unix.Accept(fd)
	return setNonblockCloexec(conn, err)
}

func setNonblockCloexec(fd int, err error) (int, error) {
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

// Read reads from a non-blocking connection. It returns 0 after the peer has
// half-closed.
func Read(fd int, b []byte) (int, error) { return unix.Read(fd, b) }

// Write writes to a non-blocking connection as much as fits into its send
// buffer. The error is EPIPE after the connection is lost. Go's runtime handles
// the SIGPIPE.
func Write(fd int, b []byte) (int, error) { return unix.Write(fd, b) }

// Unsent returns how many bytes were written to a connection and are not
// acknowledged yet: getsockopt(2), SO_NWRITE. It returns 0 on an error.
func Unsent(fd int) int {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
	if err != nil {
		return 0
	}
	return n
}

// Memory returns how many bytes are in a socket's receive queue and send queue.
// The kernel does not report how much memory they take.
func Memory(fd int) (in, out int) { return Unread(fd), Unsent(fd) }

// Unread returns how many received bytes of a connection are unread:
// getsockopt(2), SO_NREAD. It returns 0 on an error.
func Unread(fd int) int {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NREAD)
	if err != nil {
		return 0
	}
	return n
}

// Drops returns ENOTSUP: the kernel does not count drops per socket.
func Drops(fd int) (uint32, error) { return 0, unix.ENOTSUP }

// OpenSender returns ENOTSUP: see sender_linux.go.
func OpenSender(fd int) (int, error) { return -1, unix.ENOTSUP }
