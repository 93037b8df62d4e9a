//go:build !linux || portable

package udp

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"nowd/answer"
)

// batch is memory for some datagrams and their answers, where the system has
// calls for one at a time only.
type batch struct {
	owed []debt // what is to be answered

	in      [batchSize]datagram
	about   [batchSize]ancillary
	answers [sendSize][answer.MaxText]byte
	lengths [sendSize]int // of the answers
}

type datagram struct {
	data    [MaxRequest]byte
	size    int
	control [maxControl]byte
	from    unix.Sockaddr
}

func newBatch() *batch { return &batch{owed: make([]debt, 0, batchSize)} }

// receive fills the slots from 0 on and returns how many.
func (b *batch) receive(fd int) (int, error) {
	for i := range b.in {
		d := &b.in[i]
		n, ctl, flags, from, err := unix.Recvmsg(fd, d.data[:], d.control[:], 0)
		if err != nil && i > 0 {
			return i, nil // it will be told again
		}
		if err != nil {
			return 0, err
		}
		d.size, d.from = n, from
		if flags&unix.MSG_TRUNC != 0 {
			d.size++ // longer than what is there, by how much is not told
		}
		b.about[i] = readControl(d.control[:ctl])
	}
	return batchSize, nil
}

// source returns who a datagram says that it is from.
func (b *batch) source(slot int) netip.AddrPort {
	switch sa := b.in[slot].from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// request returns the beginning of a datagram, and the length of all of it.
func (b *batch) request(slot int) ([]byte, int) {
	d := &b.in[slot]
	return d.data[:min(d.size, MaxRequest)], d.size
}

// reply makes answer i the one to a slot's datagram. It leaves from the address
// that the datagram was sent to.
func (b *batch) reply(i, slot int, answer []byte) { b.lengths[i] = len(answer) }

// send sends the first n answers and returns how many of them the kernel took.
// If that is not all, the error is that of the first one left.
func (b *batch) send(fd, n int) (sent int, err error) {
	for i, debt := range b.owed[:n] {
		if err := unix.Sendmsg(fd, b.answers[i][:b.lengths[i]], b.about[debt.slot].pin, b.in[debt.slot].from, 0); err != nil {
			return i, err
		}
	}
	return n, nil
}
