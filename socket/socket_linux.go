package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func create(family, kind int) (int, error) {
	return unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// unfragmented has datagrams leave whole, whatever the kernel has heard of the
// path: ip(7), IP_MTU_DISCOVER. They are short. So nobody can have them split by
// telling of a narrow path, their headers have no identification that could be
// guessed from, and the kernel need not make one up for each.
func unfragmented(fd, family int) error {
	if family == unix.AF_INET6 {
		return set(fd, "IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
	}
	return set(fd, "IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
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

// Read reads from a non-blocking socket: recv(2). At the end of what the peer
// sends it returns 0.
func Read(fd int, b []byte) (int, error) {
	// The call cannot block, so the scheduler need not know of it.
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Write writes to a non-blocking socket as much as it has room for: send(2). A
// connection that is gone gives EPIPE, and no signal.
func Write(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Unsent returns how many bytes written to a connection its peer has not
// acknowledged yet: tcp(7), SIOCOUTQ. It returns 0 where that is not known.
func Unsent(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// Drops is how many datagrams the kernel has dropped at a socket, since it was
// opened, because they found its buffer full; it wraps: SO_MEMINFO of the
// kernel's sock_diag.h.
func Drops(fd int) (uint32, error) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return info[unix.SK_MEMINFO_DROPS], nil
}
