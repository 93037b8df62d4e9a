//go:build linux

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// batchSize is how many datagrams go into one call.
	batchSize = 64
	// messageSize is the most that a datagram on Ethernet holds.
	messageSize = 1472
)

// mmsghdr is the struct of that name in recvmmsg(2).
type mmsghdr struct {
	unix.Msghdr
	Len uint32
}

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
	headers [batchSize]mmsghdr
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
	// With MSG_DONTWAIT the call cannot block, so the scheduler need not know.
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.headers[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		m.used = 0
		return 0, errno
	}
	m.used = int(got)
	return m.used, nil
}

// send is sendmmsg(2) for the first n messages, without waiting. It returns how
// many the kernel took.
func (m *messages) send(fd, n int) (int, error) {
	sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&m.headers[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(sent), nil
}

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
