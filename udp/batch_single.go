//go:build !linux || portable

package udp

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"nowd/answer"
)

// batch is the memory for a batch of datagrams and their replies. This version is
// for systems whose calls receive and send one datagram at a time.
type batch struct {
	pending []pendingReply

	// Indexed by slot: a received datagram's place.
	in        [receiveBatch]datagram
	ancillary [receiveBatch]ancillary

	// Indexed by reply.
	replies [sendBatch][answer.MaxText]byte
	lengths [sendBatch]int
}

type datagram struct {
	data    [MaxRequest]byte
	size    int
	control controlBuffer
	from    unix.Sockaddr
}

func newBatch() *batch { return &batch{pending: make([]pendingReply, 0, receiveBatch)} }

// receive receives datagrams into the slots from 0 on, and returns their number.
// It returns EAGAIN if there is none.
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
			d.size++ // it is longer, by an unknown number of bytes
		}
		b.ancillary[i] = readControl(d.control.bytes()[:control])
	}
	return receiveBatch, nil
}

// source returns the address that a datagram claims to come from.
func (b *batch) source(slot int) netip.AddrPort {
	switch sa := b.in[slot].from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// request returns the first MaxRequest bytes of a datagram, and the length of the
// whole datagram, or a lower bound above MaxRequest.
func (b *batch) request(slot int) ([]byte, int) {
	d := &b.in[slot]
	return d.data[:min(d.size, MaxRequest)], d.size
}

// setReply makes data, which stands in replyBuffer(i), reply i. It goes to the
// source of a slot's datagram, from the address that the datagram was sent to; if
// that is unknown, source is the control message that says where from.
func (b *batch) setReply(i, slot int, data, source []byte) {
	b.lengths[i] = len(data)
	if a := &b.ancillary[slot]; a.pktinfo == nil {
		a.pktinfo = source
	}
}

// send sends the first n replies and returns how many the kernel took. If these are
// fewer than n, the error is that of the first one that it did not take.
func (b *batch) send(fd, n int) (sent int, err error) {
	for i, p := range b.pending[:n] {
		if err := unix.Sendmsg(fd, b.replies[i][:b.lengths[i]], b.ancillary[p.slot].pktinfo, b.in[p.slot].from, 0); err != nil {
			return i, err
		}
	}
	return n, nil
}
