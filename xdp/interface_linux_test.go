package xdp

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

// linkMessage returns a netlink message about a link: rtnetlink(7).
func linkMessage(index int) []byte {
	b := make([]byte, unix.SizeofNlMsghdr+unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_NEWLINK)
	binary.NativeEndian.PutUint32(b[unix.SizeofNlMsghdr+4:], uint32(index))
	return b
}

// TestEventOfTheMonitorIsBounded: more messages have arrived than one event may read. The
// next event reads the rest.
func TestEventOfTheMonitorIsBounded(t *testing.T) {
	// A socket pair stands for the netlink socket. SOCK_SEQPACKET keeps messages apart.
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	const index, other = 5, 7
	for i := range maxMonitorReads + 1 {
		message := linkMessage(other)
		if i == maxMonitorReads {
			message = linkMessage(index)
		}
		if _, err := unix.Write(fds[1], message); err != nil {
			t.Fatal(err)
		}
	}
	for event, want := range []bool{false, true, false} {
		if got := readMonitor(fds[0], index); got != want {
			t.Errorf("event %d: changed is %v, want %v", event, got, want)
		}
	}
}
