package socket

import "golang.org/x/sys/unix"

func create(family, kind int) (int, error) {
	return unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// Accept takes a connection off a listener's queue, in non-blocking mode and
// close-on-exec. It returns EAGAIN where there is none.
func Accept(fd int) (int, error) {
	// Not unix.Accept4, which makes an address of each peer's.
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
