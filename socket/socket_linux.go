package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

func newSocket(family, kind int) (int, error) {
	return unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}

// setDontFragment makes the kernel send datagrams with the DF bit and ignore the
// path MTU: ip(7), IP_MTU_DISCOVER. Answers are short enough for any path. So a
// forged ICMP message about the path MTU cannot make the host fragment them. The
// identification field is 0: an observer learns nothing from it, and the kernel
// saves generating one.
func setDontFragment(fd, family int) error {
	if family == unix.AF_INET6 {
		return setOption(fd, "IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
	}
	return setOption(fd, "IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
}

// Accept accepts a connection from a listener, in non-blocking mode and
// close-on-exec: accept4(2). The error is EAGAIN if the accept queue is empty.
func Accept(fd int) (int, error) {
	// unix.Accept4 would allocate the peer's address.
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// Read reads from a non-blocking connection: recv(2). It returns 0 after the
// peer has half-closed.
func Read(fd int, b []byte) (int, error) {
	// A raw call is safe: with MSG_DONTWAIT it never blocks the thread.
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Write writes to a non-blocking connection as much as fits into its send
// buffer: send(2). The error is EPIPE, without a signal, after the connection is
// lost.
func Write(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Unsent returns how many bytes were written to a connection and are not
// acknowledged yet: tcp(7), SIOCOUTQ. It returns 0 on an error.
func Unsent(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// Memory returns how many bytes of memory the kernel holds for a socket: in, for
// its receive queue; out, for its send queue and in reserve. They are SO_MEMINFO,
// in the kernel's sock_diag.h; ss(8) shows them as r, w and f of skmem. A socket
// with empty queues may have a page in reserve. Memory returns 0 on an error.
func Memory(fd int) (in, out int) {
	info, err := memInfo(fd)
	if err != nil {
		return 0, 0
	}
	// The reserve is signed.
	return int(info[unix.SK_MEMINFO_RMEM_ALLOC]), int(info[unix.SK_MEMINFO_WMEM_QUEUED]) + int(int32(info[unix.SK_MEMINFO_FWD_ALLOC]))
}

// Drops returns how many datagrams the kernel has dropped since the socket was
// opened because its receive buffer was full. The count wraps at 2^32. It is
// SK_MEMINFO_DROPS of SO_MEMINFO, in the kernel's sock_diag.h.
func Drops(fd int) (uint32, error) {
	info, err := memInfo(fd)
	return info[unix.SK_MEMINFO_DROPS], err
}

func memInfo(fd int) (info [unix.SK_MEMINFO_VARS]uint32, err error) {
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return info, errno
	}
	return info, nil
}

// Unread returns how many received bytes of a connection are unread: tcp(7),
// SIOCINQ. It returns 0 on an error.
func Unread(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}
