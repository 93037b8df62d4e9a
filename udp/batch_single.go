//go:build !linux || portable

package udp

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// batch holds received datagrams and their replies, for systems whose calls receive and
// send one datagram at a time.
type batch struct {
	replies

	// Indexed by slot, one for each received datagram.
	in        [receiveBatch]datagram
	ancillary [receiveBatch]ancillary
}

type datagram struct {
	data    [MaxRequest]byte
	size    int
	control controlBuffer
	from    unix.Sockaddr
}

func newBatch() *batch { return new(batch) }

// receive fills the slots from 0 on with datagrams and returns their number. It
// returns EAGAIN if none has arrived.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.in {
		d := &b.in[i]
		n, control, flags, from, err := unix.Recvmsg(fd, d.data[:], d.control.bytes(), 0)
		if err != nil && i > 0 {
			return i, nil // the next call reports the error again
		}
		if err != nil {
			return 0, err
		}
		d.size, d.from = n, from
		if flags&unix.MSG_TRUNC != 0 {
			d.size++ // a lower bound: the kernel does not report the full length
		}
		b.ancillary[i] = readControl(d.control.bytes()[:control])
	}
	return receiveBatch, nil
}

// source returns a datagram's source address, which may be spoofed.
func (b *batch) source(slot int) netip.AddrPort {
	switch sa := b.in[slot].from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// request returns the first MaxRequest bytes of a datagram, and its full length. If the
// datagram is longer than MaxRequest, the length is a lower bound, above MaxRequest.
func (b *batch) request(slot int) ([]byte, int) {
	d := &b.in[slot]
	return d.data[:min(d.size, MaxRequest)], d.size
}

// send sends data as the reply to the datagram in slot. The reply leaves from the address
// that the datagram was sent to. If that is unknown, source sets it: a control message.
func (b *batch) send(fd, slot int, data, source []byte) error {
	if pktinfo := b.ancillary[slot].pktinfo; pktinfo != nil {
		source = pktinfo
	}
	return unix.Sendmsg(fd, data, source, b.in[slot].from, 0)
}
