//go:build linux && !portable

package udp

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

// batch holds received datagrams, laid out for recvmmsg(2), and their replies. Its headers
// point into it, so it must be on the heap and must not be copied.
type batch struct {
	replies

	// Indexed by slot, one for each received datagram.
	in        [receiveBatch]socket.Mmsghdr
	inVec     [receiveBatch]unix.Iovec
	names     [receiveBatch]unix.RawSockaddrInet6 // source addresses; large enough for IPv4 too
	control   [receiveBatch]controlBuffer
	requests  [receiveBatch][MaxRequest]byte
	ancillary [receiveBatch]ancillary
	filled    int // number of slots that the last receive filled

	out    unix.Msghdr // the reply that is sent next
	outVec unix.Iovec
}

func newBatch() *batch {
	b := &batch{filled: receiveBatch}
	for i := range receiveBatch {
		b.inVec[i].Base = &b.requests[i][0]
		b.inVec[i].SetLen(MaxRequest)
		b.in[i].Iov = &b.inVec[i]
		b.in[i].SetIovlen(1)
		b.in[i].Name = (*byte)(unsafe.Pointer(&b.names[i]))
		b.in[i].Control = unsafe.SliceData(b.control[i].bytes())
	}
	b.outVec.Base = &b.buffer[0]
	b.out.Iov = &b.outVec
	b.out.SetIovlen(1)
	return b
}

// receive fills the slots from 0 on with datagrams and returns their number. It
// returns EAGAIN if none has arrived.
func (b *batch) receive(fd int) (int, error) {
	// The last call overwrote the lengths of the slots that it filled.
	for i := range b.filled {
		b.in[i].Namelen = unix.SizeofSockaddrInet6
		b.in[i].SetControllen(maxControl)
	}
	n, err := socket.Recvmmsg(fd, b.in[:], unix.MSG_TRUNC)
	b.filled = n
	for i := range n {
		b.ancillary[i] = readControl(b.control[i].bytes()[:min(int(b.in[i].Controllen), maxControl)])
	}
	return n, err
}

// source returns a datagram's source address, which may be spoofed.
func (b *batch) source(slot int) netip.AddrPort {
	sa := &b.names[slot]
	port := uint16(sa.Port>>8 | sa.Port<<8)
	if sa.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), port)
}

// request returns the first MaxRequest bytes of a datagram, and its full length.
func (b *batch) request(slot int) ([]byte, int) {
	size := int(b.in[slot].Len)
	return b.requests[slot][:min(size, MaxRequest)], size
}

// send sends data, which is in buffer, as the reply to the datagram in slot. The reply
// leaves from the address that the datagram was sent to. If that is unknown, source sets
// it: a control message.
func (b *batch) send(fd, slot int, data, source []byte) error {
	b.outVec.SetLen(len(data))
	b.out.Name, b.out.Namelen = b.in[slot].Name, b.in[slot].Namelen
	if pktinfo := b.ancillary[slot].pktinfo; pktinfo != nil {
		source = pktinfo
	}
	b.out.Control = unsafe.SliceData(source)
	b.out.SetControllen(len(source))
	return socket.Sendmsg(fd, &b.out)
}
