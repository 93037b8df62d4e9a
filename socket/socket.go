// Package socket opens non-blocking sockets, reads, writes and accepts on them,
// and sorts the errors of those calls by what the caller does about them.
//
// A descriptor is a plain int, as package reactor takes it. The caller closes it.
//
// The package supports Linux and darwin. On darwin it is compiled and vetted but
// not tested. There Recvmmsg and Sendmmsg are missing, Drops and OpenSender
// return ENOTSUP, and the kernel may give everything that arrives at a shared
// address to one of the sockets.
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

// receiveBuffer is the size of a datagram socket's receive buffer, in bytes. It
// holds the datagrams that arrive while the loop's thread is not scheduled for
// some milliseconds. The kernel caps it at net.core.rmem_max. It counts towards
// a container's memory limit.
const receiveBuffer = 1 << 20

// The sizes of a connection's buffers, in bytes. They are set on the listener.
// Linux doubles them, to count its own structures as well: socket(7). Without
// these limits a send buffer grows to 4 MB for a client that does not read.
const (
	sendBuffer = 16 << 10
	inBuffer   = 4 << 10

	// unsentLowWater is an upper bound on the unsent bytes of a writable
	// connection: TCP_NOTSENT_LOWAT of tcp(7). Bytes that were sent and are not
	// acknowledged do not count, so a client that reads is not slowed down.
	unsentLowWater = 4 << 10
)

// MaxInput is an upper bound on the memory that the kernel holds for the unread
// input of a connection, in bytes. One packet more may exceed it.
const MaxInput = 2 * inBuffer

// backlog is the length of a listener's accept queue. The kernel caps it at
// net.core.somaxconn.
const backlog = 4096

// Open returns n sockets bound to addr, in non-blocking mode and close-on-exec.
// TCP sockets listen. The kernel distributes datagrams and connections among the
// sockets (SO_REUSEPORT). The sockets of an IPv6 address do not receive IPv4.
//
// The error wraps that of the system call. It is EADDRINUSE if any other process
// has the address, even one of the same user that shares it by SO_REUSEPORT.
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
		// The first socket is bound without SO_REUSEPORT, so that bind fails if
		// another process shares the address. The others then share it with the
		// first.
		if i > 0 {
			if err := setOption(fd, "SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				return fds, err
			}
		}
		if err := unix.Bind(fd, sa); err != nil {
			return fds, os.NewSyscallError("bind", err)
		}
		if i == 0 && n > 1 {
			if err := setOption(fd, "SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
				return fds, err
			}
		}
	}
	// After all are bound: bind fails with EADDRINUSE once one of them listens.
	if network == TCP {
		for _, fd := range fds {
			if err := unix.Listen(fd, backlog); err != nil {
				return fds, os.NewSyscallError("listen", err)
			}
		}
	}
	return fds, nil
}

// Close closes the sockets in fds.
func Close(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

func open(network Network, family int) (fd int, err error) {
	if fd, err = newSocket(family, int(network)); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := setOptions(fd, network, family); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func setOptions(fd int, network Network, family int) error {
	if family == unix.AF_INET6 {
		if err := setOption(fd, "IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return err
		}
	}
	if network == UDP {
		if err := setDontFragment(fd, family); err != nil {
			return err
		}
		return setOption(fd, "SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	}
	// Connections that were accepted earlier may still use the address.
	if err := setOption(fd, "SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return err
	}
	// Accepted connections inherit these options.
	if err := setOption(fd, "SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer); err != nil {
		return err
	}
	if err := setOption(fd, "SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF, inBuffer); err != nil {
		return err
	}
	return setOption(fd, "TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsentLowWater)
}

func setOption(fd int, name string, level, opt, value int) error {
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
			// The same error as for an address that the host does not have yet.
			return nil, 0, fmt.Errorf("zone %s: %w", zone, syscall.EADDRNOTAVAIL)
		}
		sa.ZoneId = uint32(ifi.Index)
	}
	return sa, unix.AF_INET6, nil
}

// Addr returns the local address of a socket.
func Addr(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	return addrPort(sa)
}

// Peer returns the remote address of a connection.
func Peer(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getpeername", err)
	}
	return addrPort(sa)
}

// TakeError returns the pending error of a socket and clears it: SO_ERROR of
// socket(7). It returns nil if there is none.
func TakeError(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	return err
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
