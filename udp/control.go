package udp

import (
	"fmt"
	"net/netip"
	"time"
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

// ancillary is what the control messages of a datagram tell: recvmsg(2).
type ancillary struct {
	// pin is the message that has an answer leave from the address that the
	// datagram was sent to. Without one the kernel chooses.
	pin     []byte
	toMany  bool      // whether that is an address to which many listen
	arrived time.Time // zero if the kernel does not say
}

// readControl reads control messages. It makes the one that pins the answer of
// the one that tells the address, in place.
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
		// Spec_dst is the address to answer from, and where the kernel looks for
		// it. The interface is for the route to choose.
		info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&message[unix.CmsgLen(0)]))
		info.Ifindex = 0
		a.pin, a.toMany = message, info.Addr != info.Spec_dst
	case is(h, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo):
		info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&message[unix.CmsgLen(0)]))
		addr := netip.AddrFrom16(info.Addr)
		if !addr.IsLinkLocalUnicast() {
			info.Ifindex = 0
		}
		a.pin, a.toMany = message, addr.IsMulticast()
	default:
		a.readTimestamp(h, message)
	}
}

// is reports whether a message is of a kind, and whole.
func is(h *unix.Cmsghdr, level, kind, size int) bool {
	return int(h.Level) == level && int(h.Type) == kind && int(h.Len) >= unix.CmsgLen(size)
}
