package socket

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// messages is memory for short messages and their peers' addresses.
type messages struct {
	headers []Mmsghdr
	data    [][8]byte
	peers   []unix.RawSockaddrInet4
}

func newMessages(n int) *messages {
	m := &messages{make([]Mmsghdr, n), make([][8]byte, n), make([]unix.RawSockaddrInet4, n)}
	for i := range n {
		h := &m.headers[i]
		h.Iov = &unix.Iovec{Base: &m.data[i][0]}
		h.Iov.SetLen(len(m.data[i]))
		h.SetIovlen(1)
		h.Name = (*byte)(unsafe.Pointer(&m.peers[i]))
		h.Namelen = unix.SizeofSockaddrInet4
	}
	return m
}

// set sets the text and the destination of message i.
func (m *messages) set(i int, text string, to netip.AddrPort) {
	m.headers[i].Iov.SetLen(copy(m.data[i][:], text))
	m.peers[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: to.Port()<<8 | to.Port()>>8, Addr: to.Addr().As4()}
}

func (m *messages) texts(n int) (texts []string) {
	for i := range n {
		texts = append(texts, string(m.data[i][:m.headers[i].Len]))
	}
	return texts
}

func TestMmsgSendsAndReceivesSeveralDatagrams(t *testing.T) {
	fds, at := open1(t, UDP, "127.0.0.1:0", 1)
	out, in := newMessages(3), newMessages(4)
	for i, text := range []string{"one", "", "three"} {
		out.set(i, text, at)
	}
	if n, err := Sendmmsg(fds[0], out.headers, 0); n != 3 || err != nil {
		t.Fatalf("sent %d, %v; want 3", n, err)
	}
	n, err := Recvmmsg(fds[0], in.headers, 0)
	if got := in.texts(n); err != nil || !slices.Equal(got, []string{"one", "", "three"}) {
		t.Fatalf("received %q, %v", got, err)
	}
	if port := in.peers[0].Port<<8 | in.peers[0].Port>>8; port != at.Port() {
		t.Errorf("received from port %d, want %d", port, at.Port())
	}
}

// The sockets are in blocking mode, so only MSG_DONTWAIT keeps the calls from
// blocking.
func TestMmsgNeverBlocks(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer Close(fds[:])
	m := newMessages(1)
	if n, err := Recvmmsg(fds[0], m.headers, 0); n != 0 || err != unix.EAGAIN {
		t.Errorf("received %d, %v from an empty socket; want EAGAIN", n, err)
	}
	m.headers[0].Name, m.headers[0].Namelen = nil, 0
	for {
		n, err := Sendmmsg(fds[0], m.headers, 0)
		if err == unix.EAGAIN {
			break
		}
		if n != 1 || err != nil {
			t.Fatalf("sent %d, %v; want 1, or EAGAIN once the buffer is full", n, err)
		}
	}
}

func TestSendmmsgStopsBeforeABadDatagramAndThenReturnsItsError(t *testing.T) {
	fds, at := open1(t, UDP, "127.0.0.1:0", 1)
	m := newMessages(3)
	m.set(0, "good", at)
	m.set(1, "bad", netip.AddrPortFrom(at.Addr(), 0))
	m.set(2, "good", at)
	if n, err := Sendmmsg(fds[0], m.headers, 0); n != 1 || err != nil {
		t.Errorf("sent %d, %v; want 1, the datagram before the bad one", n, err)
	}
	if n, err := Sendmmsg(fds[0], m.headers[1:], 0); n != 0 || !errors.Is(err, unix.EINVAL) {
		t.Errorf("sent %d, %v; want EINVAL", n, err)
	}
	if n, err := Sendmmsg(fds[0], m.headers[2:], 0); n != 1 || err != nil {
		t.Errorf("sent %d, %v; want 1, the datagram after the bad one", n, err)
	}
}

func TestMmsgOfNoMessagesDoesNothing(t *testing.T) {
	fds, _ := open1(t, UDP, "127.0.0.1:0", 1)
	if n, err := Sendmmsg(fds[0], nil, 0); n != 0 || err != nil {
		t.Errorf("sent %d, %v; want 0", n, err)
	}
	if n, err := Recvmmsg(fds[0], nil, 0); n != 0 || err != nil {
		t.Errorf("received %d, %v; want 0", n, err)
	}
}

func TestMmsgAllocatesNothing(t *testing.T) {
	fds, at := open1(t, UDP, "127.0.0.1:0", 1)
	out, in := newMessages(2), newMessages(2)
	out.set(0, "a", at)
	out.set(1, "b", at)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = Sendmmsg(fds[0], out.headers, 0)
		_, _ = Recvmmsg(fds[0], in.headers, 0)
		_, _ = Recvmmsg(fds[0], in.headers, 0) // EAGAIN
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
