package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mmsghdr is struct mmsghdr of recvmmsg(2): one message, and its length in
// bytes, which the kernel sets. Set the fields of Msghdr with its methods
// SetIovlen and SetControllen, since their types differ between architectures.
//
// The kernel follows the pointers in Msghdr. They must point to memory on the
// heap: Go may move a stack, and does not adjust pointers in a call that is
// under way.
type Mmsghdr struct {
	unix.Msghdr
	Len uint32
}

// Recvmmsg receives up to len(msgs) messages and returns how many: recvmmsg(2).
// It never blocks: MSG_DONTWAIT is added to flags. The error is a unix.Errno,
// EAGAIN if no message has arrived. It does not allocate.
//
// The kernel overwrites Namelen, Controllen, Flags and Len of each message that
// it fills. Reset the first two before the next call.
func Recvmmsg(fd int, msgs []Mmsghdr, flags int) (n int, err error) {
	return mmsg(unix.SYS_RECVMMSG, fd, msgs, flags)
}

// Sendmmsg sends msgs in order and returns how many were sent: sendmmsg(2). It
// never blocks: MSG_DONTWAIT is added to flags. The error is a unix.Errno,
// EAGAIN if the send buffer is full. It does not allocate.
//
// If a message after the first cannot be sent, Sendmmsg returns the number of
// messages before it and no error. A call that begins with that message returns
// its error.
func Sendmmsg(fd int, msgs []Mmsghdr, flags int) (n int, err error) {
	return mmsg(unix.SYS_SENDMMSG, fd, msgs, flags)
}

func mmsg(trap uintptr, fd int, msgs []Mmsghdr, flags int) (int, error) {
	// A raw call is safe, because with MSG_DONTWAIT it never blocks the thread.
	n, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))), uintptr(len(msgs)), uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
