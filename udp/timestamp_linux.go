package udp

import (
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// enableTimestamps enables control messages with the time when the kernel received each
// datagram: SO_TIMESTAMPNS of socket(7). They cost no further system call.
func enableTimestamps(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("setsockopt SO_TIMESTAMPNS: %w", err)
	}
	return nil
}

func (a *ancillary) readTimestamp(h *unix.Cmsghdr, message []byte) {
	if is(h, unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS, int(unsafe.Sizeof(unix.Timespec{}))) {
		t := (*unix.Timespec)(unsafe.Pointer(&message[unix.CmsgLen(0)]))
		a.received = time.Unix(t.Unix())
	}
}
