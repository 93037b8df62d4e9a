// Package socket opens the non-blocking sockets that the loops of a service
// share an address with.
package socket

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Network is a kind of socket.
type Network int

const (
	UDP Network = unix.SOCK_DGRAM
	TCP Network = unix.SOCK_STREAM
)

// String returns "udp" or "tcp".
func (n Network) String() string {
	if n == UDP {
		return "udp"
	}
	return "tcp"
}

// receiveBuffer is what a datagram socket may have waiting, in bytes; the
// kernel cuts it to its net.core.rmem_max. It bridges a loop's being stopped
// for some milliseconds, and a memory limit on a container pays for it.
const receiveBuffer = 1 << 20

// backlog is how many connections may wait to be accepted; the kernel cuts it
// to its net.core.somaxconn.
const backlog = 4096

// Open returns n sockets bound to addr, between which the kernel shares out
// what arrives there (SO_REUSEPORT). They are in non-blocking mode and close on
// exec; those of TCP listen. The socket of an IPv6 address is for IPv6 alone.
// The error is comparable with errors.Is to the system call's: EADDRINUSE if
// anyone has the address, a service of the same user's with shared sockets too.
func Open(network Network, addr netip.AddrPort, n int) (fds []int, err error) {
	defer func() {
		if err != nil {
			Close(fds)
			fds, err = nil, fmt.Errorf("%v %v: %w", network, addr, err)
		}
	}()
	sa, family, err := sockaddr(addr)
	if err != nil {
		return nil, err
	}
	for i := range n {
		fd, err := open(network, family)
		if err != nil {
			return fds, err
		}
		fds = append(fds, fd)
		// The first one is bound unshared, so that it fails where another
		// process shares the address; the rest join it.
		if i > 0 {
			if err := set(fd, "SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				return fds, err
			}
		}
		if err := unix.Bind(fd, sa); err != nil {
			return fds, os.NewSyscallError("bind", err)
		}
		if i == 0 && n > 1 {
			if err := set(fd, "SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				return fds, err
			}
		}
	}
	// Not before all are bound: TCP would take a listener's address for taken.
	if network == TCP {
		for _, fd := range fds {
			if err := unix.Listen(fd, backlog); err != nil {
				return fds, os.NewSyscallError("listen", err)
			}
		}
	}
	return fds, nil
}

// Close closes the sockets.
func Close(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

func open(network Network, family int) (fd int, err error) {
	if fd, err = create(family, int(network)); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := configure(fd, network, family); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func configure(fd int, network Network, family int) error {
	if family == unix.AF_INET6 {
		if err := set(fd, "IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if network == UDP {
		if err := unfragmented(fd, family); err != nil {
			return err
		}
		return set(fd, "SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	// What was accepted from the address earlier does not keep us from it.
	return set(fd, "SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
}

func set(fd int, name string, level, opt, value int) error {
	if err := unix.SetsockoptInt(fd, level, opt, value); err != nil {
		return fmt.Errorf("setsockopt %s: %w", name, err)
	}
	return nil
}

func sockaddr(addr netip.AddrPort) (unix.Sockaddr, int, error) {
	ip := addr.Addr()
	if ip.Is4() {
		return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}, unix.AF_INET, nil
	}
	sa := &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16()}
	if zone := ip.Zone(); zone != "" {
		ifi, err := net.InterfaceByName(zone)
		if err != nil {
			// Likely it is not there yet, as an address may not be.
			return nil, 0, fmt.Errorf("zone %s: %w", zone, syscall.EADDRNOTAVAIL)
		}
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa, unix.AF_INET6, nil
}

// Addr returns the address that a socket is bound to.
func Addr(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	return addrPort(sa)
}

// Peer returns the address that a socket is connected to.
func Peer(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getpeername", err)
	}
	return addrPort(sa)
}

func addrPort(sa unix.Sockaddr) (netip.AddrPort, error) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port)), nil
	}
	return netip.AddrPort{}, unix.EAFNOSUPPORT
}
