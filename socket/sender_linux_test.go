package socket

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSenderReceivesNothing: all datagrams to the port reach the sockets that were
// opened first.
func TestSenderReceivesNothing(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", "127.0.0.1:0", "[::]:0"} {
		for _, n := range []int{1, 2} {
			port := free(t, UDP).Port()
			fds, err := Open(UDP, netip.AddrPortFrom(netip.MustParseAddrPort(addr).Addr(), port), n)
			if errors.Is(err, unix.EAFNOSUPPORT) {
				t.Skip("this host has no IPv6")
			}
			if err != nil {
				t.Fatal(err)
			}
			defer Close(fds)
			var senders []int
			for range 3 {
				for _, fd := range fds {
					sender, err := OpenSender(fd)
					if err != nil {
						t.Fatal(err)
					}
					defer unix.Close(sender)
					senders = append(senders, sender)
				}
			}
			host := "127.0.0.1"
			if addr[0] == '[' {
				host = "::1"
			}
			const sent = 100
			for range sent {
				c, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(host), port).String())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				_ = c.Close()
			}
			if got := count(t, fds); got != sent {
				t.Errorf("%s, %d sockets: %d of %d datagrams arrived", addr, n, got, sent)
			}
			if got := count(t, senders); got != 0 {
				t.Errorf("%s, %d sockets: %d datagrams arrived at senders, want none", addr, n, got)
			}
		}
	}
}

// count reads all datagrams from fds and returns their number.
func count(t *testing.T, fds []int) (n int) {
	t.Helper()
	for _, fd := range fds {
		for b := make([]byte, 16); ; n++ {
			if _, _, err := unix.Recvfrom(fd, b, 0); errors.Is(err, unix.EAGAIN) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

// TestSenderLeavesAddressUnshared: another process still gets EADDRINUSE, with
// SO_REUSEPORT or without.
func TestSenderLeavesAddressUnshared(t *testing.T) {
	fds, at := open1(t, UDP, free(t, UDP).String(), 1)
	sender, err := OpenSender(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(sender)
	if shared, err := unix.GetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_REUSEPORT); err != nil || shared != 0 {
		t.Errorf("SO_REUSEPORT is %d, %v; want 0", shared, err)
	}
	for _, n := range []int{1, 3} {
		if others, err := Open(UDP, at, n); !errors.Is(err, unix.EADDRINUSE) {
			Close(others)
			t.Errorf("opening %d sockets at the same address: %v, want EADDRINUSE", n, err)
		}
	}
}
