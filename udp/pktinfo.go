package udp

import (
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

// askForAddress has the kernel tell with each datagram which of the host's
// addresses it was sent to, if the socket has them all: ip(7), IP_PKTINFO.
func askForAddress(fd int) error {
	at, err := socket.Addr(fd)
	if err != nil || !at.Addr().IsUnspecified() {
		return err // a socket with an address of its own answers from that
	}
	name, level, opt := "IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO
	if at.Addr().Is6() {
		name, level, opt = "IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	if err := unix.SetsockoptInt(fd, level, opt, 1); err != nil {
		return fmt.Errorf("setsockopt %s: %w", name, err)
	}
	return nil
}

// turnAround makes of the control message that came with a datagram the one
// that goes with its answer, in place. It reports false if there is none, or
// the address is one to which many listen and from which nobody can send; the
// kernel then chooses.
func turnAround(control []byte) bool {
	if len(control) < unix.SizeofCmsghdr {
		return false
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	data := unsafe.Pointer(&control[unix.CmsgLen(0)])
	switch {
	case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(control) >= unix.CmsgLen(unix.SizeofInet4Pktinfo):
		// The kernel has put the address to answer from where it wants it,
		// into Spec_dst. The interface is for the route to choose.
		(*unix.Inet4Pktinfo)(data).Ifindex = 0
		return true
	case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(control) >= unix.CmsgLen(unix.SizeofInet6Pktinfo):
		info := (*unix.Inet6Pktinfo)(data)
		addr := netip.AddrFrom16(info.Addr)
		if !addr.IsLinkLocalUnicast() {
			info.Ifindex = 0
		}
		return !addr.IsMulticast()
	}
	return false
}
