package udp

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// askForArrival has the kernel tell with each datagram when it arrived:
// socket(7), SO_TIMESTAMP; it costs no system call.
func askForArrival(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("setsockopt SO_TIMESTAMPNS: %w", err)
	}
	return nil
}

func (a *ancillary) readTimestamp(h *unix.Cmsghdr, message []byte) {
	if is(h, unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, int(unsafe.Sizeof(unix.Timespec{}))) {
		t := (*unix.Timespec)(unsafe.Pointer(&message[unix.CmsgLen(0)]))
		a.arrived = time.Unix(t.Unix())
	}
}
