//go:build linux

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

const (
	// batchSize is how many datagrams go into one call.
	batchSize = 64
	// messageSize is the most that a datagram on Ethernet holds.
	messageSize = 1472
)

// stamp is the control message that tells when a packet arrived: socket(7),
// SO_TIMESTAMPNS.
type stamp struct {
	unix.Cmsghdr
	unix.Timespec
}

// messages is memory for a batch, as recvmmsg(2) and sendmmsg(2) want it. The
// headers point to the other parts of it, so it stays where it was made, on the
// heap.
type messages struct {
	headers [batchSize]socket.Mmsghdr
	vectors [batchSize]unix.Iovec
	peers   [batchSize]unix.RawSockaddrInet4
	stamps  [batchSize]stamp
	data    [batchSize][messageSize]byte
	used    int // slots that the last receive filled
}

// newMessages makes a batch. With peers, messages go back to where they came
// from; without, they are those of a connected socket. With stamps, it is told
// when they arrived.
func newMessages(peers, stamps bool) *messages {
	m := new(messages)
	for i := range batchSize {
		m.vectors[i].Base = &m.data[i][0]
		m.vectors[i].SetLen(messageSize)
		h := &m.headers[i]
		h.Iov = &m.vectors[i]
		h.SetIovlen(1)
		if peers {
			h.Name = (*byte)(unsafe.Pointer(&m.peers[i]))
			h.Namelen = unix.SizeofSockaddrInet4
		}
		if stamps {
			h.Control = (*byte)(unsafe.Pointer(&m.stamps[i]))
			h.SetControllen(int(unsafe.Sizeof(m.stamps[i])))
		}
	}
	return m
}

// receive is recvmmsg(2) for n messages at the most, without waiting. It works
// on a stream, too, where each message is what there is to read.
func (m *messages) receive(fd, n int) (int, error) {
	for i := range m.used {
		m.vectors[i].SetLen(messageSize)
		if h := &m.headers[i]; h.Control != nil {
			h.SetControllen(int(unsafe.Sizeof(m.stamps[i])))
		}
	}
	got, err := socket.Recvmmsg(fd, m.headers[:n], 0)
	m.used = got
	return got, err
}

// send is sendmmsg(2) for the first n messages, without waiting. It returns how
// many the kernel took.
func (m *messages) send(fd, n int) (int, error) { return socket.Sendmmsg(fd, m.headers[:n], 0) }

// set makes b the content of message i.
func (m *messages) set(i int, b []byte) { m.vectors[i].SetLen(copy(m.data[i][:], b)) }

// get returns what message i, which was received, holds.
func (m *messages) get(i int) []byte { return m.data[i][:m.headers[i].Len] }

// arrived returns when message i did, in nanoseconds since 1970, if the kernel
// has told.
func (m *messages) arrived(i int) (int64, bool) {
	s := &m.stamps[i]
	ok := m.headers[i].Controllen != 0 && s.Level == unix.SOL_SOCKET && s.Cmsghdr.Type == unix.SO_TIMESTAMPNS
	return s.Timespec.Nano(), ok
}
