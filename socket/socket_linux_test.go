package socket

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A raw socket reads the headers: raw(7).
func TestDatagramsLeaveWhole(t *testing.T) {
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if errors.Is(err, unix.EPERM) && os.Getenv("CI") == "" {
		t.Skip("opening a raw socket needs root")
	} else if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(raw)
	fds, err := Open(UDP, netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fds)
	at, err := Addr(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	timeout := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(raw, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		t.Fatal(err)
	}
	for range 2 { // an identification that counts up would not be 0 in both
		if err := unix.Sendto(fds[0], []byte("x"), 0, to); err != nil {
			t.Fatal(err)
		}
	}
	for seen := 0; seen < 2; {
		var b [64]byte
		n, _, err := unix.Recvfrom(raw, b[:], 0)
		if err != nil {
			t.Fatalf("the datagrams did not arrive at the raw socket: %v", err)
		}
		// An IP header without options has 20 bytes; the source port follows. Other
		// programs use loopback too.
		if n < 24 || binary.BigEndian.Uint16(b[20:]) != at.Port() {
			continue
		}
		seen++
		if id, flags := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]); id != 0 || flags != 0x4000 {
			t.Errorf("identification %d, flags %#x; want 0 and DF", id, flags)
		}
	}
}
