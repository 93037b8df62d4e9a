package udp

import (
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

// enablePktinfo enables control messages with the destination address of each datagram
// (IP_PKTINFO of ip(7), IPV6_RECVPKTINFO of ipv6(7)). A socket bound to one address does
// not need them.
func enablePktinfo(fd int) error {
	at, err := socket.Addr(fd)
	if err != nil || !at.Addr().IsUnspecified() {
		return err
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

// ancillary is the contents of a received datagram's control messages: recvmsg(2).
type ancillary struct {
	// pktinfo is the control message that makes the reply leave from the address that the
	// datagram was sent to. If nil, the kernel chooses the address.
	pktinfo   []byte
	multicast bool      // whether the datagram was sent to a multicast or broadcast address
	received  time.Time // the kernel's receive timestamp; zero if there is none
}

// readControl reads the control messages of a datagram. It rewrites the one with the
// destination address in place, for use with the reply. control must be aligned like a
// controlBuffer.
func readControl(control []byte) (a ancillary) {
	for len(control) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
		size := int(h.Len)
		if size < unix.CmsgLen(0) || size > len(control) {
			break
		}
		a.read(h, control[:size])
		control = control[min(unix.CmsgSpace(size-unix.CmsgLen(0)), len(control)):]
	}
	return a
}

func (a *ancillary) read(h *unix.Cmsghdr, message []byte) {
	switch {
	case is(h, unix.IPPROTO_IP, unix.IP_PKTINFO, unix.SizeofInet4Pktinfo):
		// Spec_dst is the local address on receive and the source address on send.
		// Ifindex 0 leaves the choice of the interface to routing.
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&message[unix.CmsgLen(0)]))
		info.Ifindex = 0
		a.pktinfo, a.multicast = message, info.Addr != info.Spec_dst
	case is(h, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo):
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&message[unix.CmsgLen(0)]))
		addr := netip.AddrFrom16(info.Addr)
		if !addr.IsLinkLocalUnicast() { // a link-local address needs its interface
			info.Ifindex = 0
		}
		a.pktinfo, a.multicast = message, addr.IsMulticast()
	default:
		a.readTimestamp(h, message)
	}
}

// is reports whether a control message has this level and type, and at least size bytes
// of data.
func is(h *unix.Cmsghdr, level, kind, size int) bool {
	return int(h.Level) == level && int(h.Type) == kind && int(h.Len) >= unix.CmsgLen(size)
}
