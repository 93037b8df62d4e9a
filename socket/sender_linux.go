package socket

import (
	"fmt"
	"math/rand/v2"
	"os"

	"golang.org/x/sys/unix"
)

// OpenSender returns a datagram socket that sends from the port of fd, a UDP
// socket, and receives nothing. It has a send buffer of its own, in non-blocking
// mode and close-on-exec. Each datagram must be sent to a name, and with
// IP_PKTINFO or IPV6_PKTINFO for its source address.
//
// The sender is bound to the port at an address that no host has: IP_FREEBIND of
// ip(7) allows that. So the kernel delivers nothing to it at any time, and does
// not count it among the sockets that share what arrives at fd's address.
//
// bind(2) needs SO_REUSEPORT on both sockets. If fd does not share its port, it
// has that option only during the call. bind(2) also needs the right to use the
// port: for ports below net.ipv4.ip_unprivileged_port_start the error is EACCES
// if the process has no CAP_NET_BIND_SERVICE any more.
func OpenSender(fd int) (sender int, err error) {
	at, err := Addr(fd)
	if err != nil {
		return -1, err
	}
	nowhere, family, level, opt := unix.Sockaddr(&unix.SockaddrInet4{Port: int(at.Port()), Addr: nowhere4()}), unix.AF_INET, unix.IPPROTO_IP, unix.IP_FREEBIND
	if at.Addr().Is6() {
		nowhere, family, level, opt = &unix.SockaddrInet6{Port: int(at.Port()), Addr: nowhere6()}, unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND
	}
	if sender, err = open(UDP, family); err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			_ = unix.Close(sender)
			sender = -1
		}
	}()
	if err := setOption(sender, "SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return sender, err
	}
	if err := setOption(sender, "IP_FREEBIND", level, opt, 1); err != nil {
		return sender, err
	}
	shared, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT)
	if err != nil {
		return sender, fmt.Errorf("getsockopt SO_REUSEPORT: %w", err)
	}
	if shared == 0 {
		if err := setOption(fd, "SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return sender, err
		}
		defer func() { _ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 0) }()
	}
	if err := unix.Bind(sender, nowhere); err != nil {
		return sender, os.NewSyscallError("bind", err)
	}
	// From here on a source address that the host has lost is an error, as it is on
	// fd.
	return sender, setOption(sender, "IP_FREEBIND", level, opt, 0)
}

// nowhere4 returns an address of 0.0.0.0/8, which is never a destination: RFC
// 1122, section 3.2.1.3. It is a random one, so that the senders of different
// users do not compete for it.
func nowhere4() [4]byte {
	n := 1 + rand.Uint32N(1<<24-1)
	return [4]byte{0, byte(n >> 16), byte(n >> 8), byte(n)}
}

// nowhere6 returns a random address of 100::/64, which is for discarding: RFC 6666.
func nowhere6() [16]byte {
	a, n := [16]byte{0: 1}, rand.Uint64()
	for i := range 8 {
		a[8+i] = byte(n >> (8 * i))
	}
	return a
}
