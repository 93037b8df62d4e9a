package socket

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func open1(t *testing.T, network Network, addr string, n int) ([]int, netip.AddrPort) {
	t.Helper()
	fds, err := Open(network, netip.MustParseAddrPort(addr), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Close(fds) })
	at, err := Addr(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	return fds, at
}

// free returns an address that no socket is bound to.
func free(t *testing.T, network Network) netip.AddrPort {
	fds, err := Open(network, netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fds)
	at, err := Addr(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestAddressInUseIsAnErrorForAnyNumberOfSockets(t *testing.T) {
	for _, network := range []Network{UDP, TCP} {
		for _, first := range []int{1, 3} {
			for _, second := range []int{1, 3} {
				_, at := open1(t, network, free(t, network).String(), first)
				fds, err := Open(network, at, second)
				if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), at.String()) || fds != nil {
					t.Errorf("%v, %d sockets at the address of %d: %v, %v; want EADDRINUSE", network, second, first, fds, err)
				}
			}
		}
	}
}

func TestUnavailableAddressIsAnError(t *testing.T) {
	for _, addr := range []string{"192.0.2.1:3333", "[fe80::1%nosuch0]:3333"} {
		if _, err := Open(UDP, netip.MustParseAddrPort(addr), 1); !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("%s: %v, want EADDRNOTAVAIL", addr, err)
		}
	}
}

// TestSocketsShareDatagrams: with many clients, each socket receives datagrams.
func TestSocketsShareDatagrams(t *testing.T) {
	fds, at := open1(t, UDP, free(t, UDP).String(), 2)
	for range 200 {
		c, err := net.Dial("udp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
	}
	total := 0
	for _, fd := range fds {
		n := 0
		for b := make([]byte, 16); ; n++ {
			if _, _, err := unix.Recvfrom(fd, b, 0); err == unix.EAGAIN {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if n == 0 {
			t.Error("a socket received no datagram")
		}
		total += n
	}
	if total != 200 {
		t.Errorf("%d of 200 datagrams arrived", total)
	}
}

func TestListenersShareConnections(t *testing.T) {
	fds, at := open1(t, TCP, free(t, TCP).String(), 2)
	for range 100 {
		c, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	total := 0
	for _, fd := range fds {
		n := 0
		for ; ; n++ {
			conn, err := Accept(fd)
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if fl, err := unix.FcntlInt(uintptr(conn), unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK == 0 {
				t.Errorf("flags %#x, %v: want O_NONBLOCK", fl, err)
			}
			if fl, err := unix.FcntlInt(uintptr(conn), unix.F_GETFD, 0); err != nil || fl&unix.FD_CLOEXEC == 0 {
				t.Errorf("flags %#x, %v: want FD_CLOEXEC", fl, err)
			}
			_ = unix.Close(conn)
		}
		if n == 0 {
			t.Error("a listener accepted no connection")
		}
		total += n
	}
	if total != 100 {
		t.Errorf("%d of 100 connections arrived", total)
	}
}

func TestIPv4AndIPv6HaveSocketsOfTheirOwn(t *testing.T) {
	_, at := open1(t, UDP, "0.0.0.0:0", 1)
	fds, err := Open(UDP, netip.AddrPortFrom(netip.IPv6Unspecified(), at.Port()), 1)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		t.Skip("this host has no IPv6")
	}
	if err != nil {
		t.Fatal(err)
	}
	Close(fds)
}
