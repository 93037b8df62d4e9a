package udp

import "golang.org/x/sys/unix"

// sourceControl returns the control message that makes a reply leave from the address
// that a socket is bound to. It returns nil for a socket bound to all addresses.
func sourceControl(fd int) ([]byte, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return nil, err
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		if sa.Addr != [4]byte{} {
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: sa.Addr}), nil
		}
	case *unix.SockaddrInet6:
		if sa.Addr != [16]byte{} {
			return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: sa.Addr, Ifindex: sa.ZoneId}), nil
		}
	}
	return nil, nil
}
