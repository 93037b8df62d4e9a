package udp

import (
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

// enablePktinfo has the kernel tell the destination address of each datagram (IP_PKTINFO
// of ip(7), IPV6_RECVPKTINFO of ipv6(7)), if the socket is bound to all addresses.
func enablePktinfo(fd int) error {
	at, err := socket.Addr(fd)
	if err != nil || !at.Addr().IsUnspecified() {
		return err // a socket that is bound to one address answers from it
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

// ancillary is what the control messages of a received datagram say: recvmsg(2).
type ancillary struct {
	// pktinfo is the control message that makes the reply leave from the address
	// that the datagram was sent to. If it is nil, the kernel chooses an address.
	pktinfo   []byte
	multicast bool      // whether the datagram was sent to a multicast or broadcast address
	received  time.Time // the kernel's receive timestamp; zero if there is none
}

// readControl reads the control messages of a datagram. It turns the one that tells
// the destination address into the one for the reply, in place. control begins
// where a controlBuffer does.
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
		// Spec_dst is the local address of the datagram. In a control message to
		// send it is the source address. Ifindex 0 leaves the interface to routing.
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&message[unix.CmsgLen(0)]))
		info.Ifindex = 0
		a.pktinfo, a.multicast = message, info.Addr != info.Spec_dst
	case is(h, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo):
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&message[unix.CmsgLen(0)]))
		addr := netip.AddrFrom16(info.Addr)
		if !addr.IsLinkLocalUnicast() { // which means nothing without its interface
			info.Ifindex = 0
		}
		a.pktinfo, a.multicast = message, addr.IsMulticast()
	default:
		a.readTimestamp(h, message)
	}
}

// is reports whether a control message has this level and type, and data of at
// least size bytes.
func is(h *unix.Cmsghdr, level, kind, size int) bool {
	return int(h.Level) == level && int(h.Type) == kind && int(h.Len) >= unix.CmsgLen(size)
}
