package socket

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Mmsghdr is struct mmsghdr of recvmmsg(2): one message. Set Iovlen and
// Controllen with the methods SetIovlen and SetControllen, because their types
// differ between architectures.
//
// The kernel follows the pointers in Msghdr. They must point to memory on the
// heap: Go may move a stack during the call, and does not adjust pointers that
// the kernel has.
type Mmsghdr struct {
	unix.Msghdr
	Len uint32 // length of the message in bytes; set by the kernel
}

// Recvmmsg receives up to len(msgs) messages and returns how many: recvmmsg(2).
// It adds MSG_DONTWAIT to flags, so it never blocks. The error is a unix.Errno,
// EAGAIN if no message has arrived. It does not allocate.
//
// The kernel overwrites Namelen, Controllen, Flags and Len of each message that
// it fills. Reset the first two before the next call.
func Recvmmsg(fd int, msgs []Mmsghdr, flags int) (n int, err error) {
	return mmsg(unix.SYS_RECVMMSG, fd, msgs, flags)
}

// Sendmmsg sends msgs in order and returns how many it has sent: sendmmsg(2). It
// adds MSG_DONTWAIT to flags, so it never blocks. The error is a unix.Errno,
// EAGAIN if the send buffer is full. It does not allocate.
//
// If a message after the first cannot be sent, Sendmmsg returns the number of
// messages before it, and no error. Call it again from that message on to get
// its error.
func Sendmmsg(fd int, msgs []Mmsghdr, flags int) (n int, err error) {
	return mmsg(unix.SYS_SENDMMSG, fd, msgs, flags)
}

// Sendmsg sends a message: sendmsg(2). It never blocks. The error is a unix.Errno,
// EAGAIN if the send buffer is full. The pointers in msg must point to memory on the
// heap, as those of Mmsghdr. It does not allocate.
func Sendmsg(fd int, msg *unix.Msghdr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(msg)), unix.MSG_DONTWAIT, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

func mmsg(trap uintptr, fd int, msgs []Mmsghdr, flags int) (int, error) {
	// A raw call is safe: with MSG_DONTWAIT it never blocks the thread.
	n, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(msgs))), uintptr(len(msgs)), uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
