//go:build linux

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"nowd/socket"
)

const (
	// batchSize is the maximum number of datagrams in one system call.
	batchSize = 64
	// messageSize is the maximum payload of a UDP datagram on Ethernet.
	messageSize = 1472
)

// timestamp is the control message with the receive timestamp of a packet:
// SO_TIMESTAMPNS of socket(7).
type timestamp struct {
	unix.Cmsghdr
	unix.Timespec
}

// messages is the memory of a batch for recvmmsg(2) and sendmmsg(2). Its headers point into
// it, so it must not be copied.
type messages struct {
	headers    [batchSize]socket.Mmsghdr
	vectors    [batchSize]unix.Iovec
	peers      [batchSize]unix.RawSockaddrInet4
	timestamps [batchSize]timestamp
	data       [batchSize][messageSize]byte
	used       int // slots that the last receive filled
}

// newMessages returns an empty batch. With peers, receive stores each message's source, and
// send sends the message there; without, the socket must be connected. With timestamps,
// receive stores the receive timestamps.
func newMessages(peers, timestamps bool) *messages {
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
		if timestamps {
			h.Control = (*byte)(unsafe.Pointer(&m.timestamps[i]))
			h.SetControllen(int(unsafe.Sizeof(m.timestamps[i])))
		}
	}
	return m
}

// receive is recvmmsg(2) for at most n messages, without blocking. On a stream socket, one
// message is all that is readable, up to messageSize.
func (m *messages) receive(fd, n int) (int, error) {
	for i := range m.used {
		m.vectors[i].SetLen(messageSize)
		if h := &m.headers[i]; h.Control != nil {
			h.SetControllen(int(unsafe.Sizeof(m.timestamps[i])))
		}
	}
	got, err := socket.Recvmmsg(fd, m.headers[:n], 0)
	m.used = got
	return got, err
}

// send is sendmmsg(2) for the first n messages, without blocking. It returns the number
// that the kernel accepted.
func (m *messages) send(fd, n int) (int, error) { return socket.Sendmmsg(fd, m.headers[:n], 0) }

// set sets the payload of message i.
func (m *messages) set(i int, b []byte) { m.vectors[i].SetLen(copy(m.data[i][:], b)) }

// get returns the payload of received message i.
func (m *messages) get(i int) []byte { return m.data[i][:m.headers[i].Len] }

// arrived returns the receive timestamp of message i, in nanoseconds since 1970, and
// whether the kernel gave one.
func (m *messages) arrived(i int) (int64, bool) {
	s := &m.timestamps[i]
	ok := m.headers[i].Controllen != 0 && s.Level == unix.SOL_SOCKET && s.Cmsghdr.Type == unix.SO_TIMESTAMPNS
	return s.Timespec.Nano(), ok
}
