package ntp

import (
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize is the size of the buffer for control messages, in bytes.
const controlSize = 64

// enableTimestamps makes the kernel add its receive timestamp to each datagram:
// SO_TIMESTAMPNS of socket(7).
func enableTimestamps(c *net.UDPConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}); e != nil {
		return e
	}
	return err
}

// timestamp returns the kernel's timestamp in the control messages of a datagram, or
// the zero time if there is none.
func timestamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Time{}
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			t := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(t.Unix())
		}
	}
	return time.Time{}
}
