//go:build linux && !portable

package udp

import (
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"nowd/answer"
)

// mmsghdr is the struct of that name in recvmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	Len uint32
}

// batch is memory for some datagrams and their answers, as recvmmsg(2) and
// sendmmsg(2) want it. The headers point to the other parts of it, so it stays
// where it was made, on the heap.
type batch struct {
	owed []debt // what is to be answered

	in       [batchSize]mmsghdr
	inVec    [batchSize]unix.Iovec
	names    [batchSize]unix.RawSockaddrInet6 // one of IPv4 fits in
	control  [batchSize][maxControl]byte
	requests [batchSize][MaxRequest]byte
	about    [batchSize]ancillary
	used     int // slots that the last receive filled

	out     [sendSize]mmsghdr
	outVec  [sendSize]unix.Iovec
	answers [sendSize][answer.MaxText]byte
}

func newBatch() *batch {
	b := &batch{owed: make([]debt, 0, batchSize), used: batchSize}
	for i := range batchSize {
		b.inVec[i].Base = &b.requests[i][0]
		b.inVec[i].SetLen(MaxRequest)
		b.in[i].Iov = &b.inVec[i]
		b.in[i].SetIovlen(1)
		b.in[i].Name = (*byte)(unsafe.Pointer(&b.names[i]))
		b.in[i].Control = &b.control[i][0]
	}
	for i := range sendSize {
		b.outVec[i].Base = &b.answers[i][0]
		b.out[i].Iov = &b.outVec[i]
		b.out[i].SetIovlen(1)
	}
	return b
}

// receive fills the slots from 0 on and returns how many.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.used {
		b.in[i].Namelen = unix.SizeofSockaddrInet6
		b.in[i].SetControllen(maxControl)
	}
	// With MSG_DONTWAIT the call cannot block, so the scheduler need not know.
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.in[0])), batchSize, unix.MSG_DONTWAIT|unix.MSG_TRUNC, 0, 0)
	if errno != 0 {
		b.used = 0
		return 0, errno
	}
	b.used = int(n)
	for i := range b.used {
		b.about[i] = readControl(b.control[i][:min(int(b.in[i].Controllen), maxControl)])
	}
	return b.used, nil
}

// source returns who a datagram says that it is from.
func (b *batch) source(slot int) netip.AddrPort {
	sa := &b.names[slot]
	port := uint16(sa.Port>>8 | sa.Port<<8)
	if sa.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), port)
}

// request returns the beginning of a datagram, and the length of all of it.
func (b *batch) request(slot int) ([]byte, int) {
	size := int(b.in[slot].Len)
	return b.requests[slot][:min(size, MaxRequest)], size
}

// reply makes answer i the one to a slot's datagram. It leaves from the address
// that the datagram was sent to.
func (b *batch) reply(i, slot int, answer []byte) {
	in, out := &b.in[slot], &b.out[i]
	b.outVec[i].SetLen(len(answer))
	out.Name, out.Namelen = in.Name, in.Namelen
	out.Control = unsafe.SliceData(b.about[slot].pin)
	out.SetControllen(len(b.about[slot].pin))
}

// send sends the first n answers and returns how many of them the kernel took.
// If that is not all, the error is that of the first one left.
func (b *batch) send(fd, n int) (sent int, err error) {
	for sent < n {
		took, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&b.out[sent])), uintptr(n-sent), unix.MSG_DONTWAIT, 0, 0)
		if errno != 0 {
			return sent, errno
		}
		sent += int(took) // after fewer than all, the next call tells why
	}
	return sent, nil
}
