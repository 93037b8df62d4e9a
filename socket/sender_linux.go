package socket

import (
	"fmt"
	"math/rand/v2"
	"os"

	"golang.org/x/sys/unix"
)

// OpenSender returns a datagram socket that sends from the port of fd, a UDP
// socket, and never receives. It has a send buffer of its own, and is in
// non-blocking mode and close-on-exec. Each datagram needs a destination, and a
// source address in IP_PKTINFO or IPV6_PKTINFO.
//
// The sender is bound to fd's port at an address that no host has: IP_FREEBIND
// of ip(7) allows that. So the kernel delivers nothing to it, and does not count
// it among the sockets that share fd's address.
//
// bind(2) needs SO_REUSEPORT on both sockets. If fd does not share its port,
// OpenSender sets the option on fd and clears it again. bind(2) also needs the
// right to use the port: for ports below net.ipv4.ip_unprivileged_port_start the
// error is EACCES if the process has dropped CAP_NET_BIND_SERVICE.
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
	// Without the option, sending from an address that the host has lost fails, as
	// it does on fd.
	return sender, setOption(sender, "IP_FREEBIND", level, opt, 0)
}

// nowhere4 returns a random address of 0.0.0.0/8, which is never a destination:
// RFC 1122, section 3.2.1.3. It is random so that the senders of different users
// do not compete for one address.
func nowhere4() [4]byte {
	n := 1 + rand.Uint32N(1<<24-1)
	return [4]byte{0, byte(n >> 16), byte(n >> 8), byte(n)}
}

// nowhere6 returns a random address of 100::/64, the prefix for discarding: RFC
// 6666.
func nowhere6() [16]byte {
	a, n := [16]byte{0: 1}, rand.Uint64()
	for i := range 8 {
		a[8+i] = byte(n >> (8 * i))
	}
	return a
}
