//go:build linux

package faults_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace, held by a thread. It ends with the test and the processes that the test has started.
type namespace struct{ *thread }

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	needNamespace(t)
	ns := &namespace{newThread()}
	t.Cleanup(func() { close(ns.calls) })
	var err error
	ns.do(func() { err = syscall.Unshare(syscall.CLONE_NEWNET) })
	if err != nil {
		lacking(t, "no network namespace: "+err.Error())
	}
	ip(t, ns, "link", "set", "lo", "up")
	return ns
}

// ip runs ip(8) at a place.
func ip(t *testing.T, at place, args ...string) {
	t.Helper()
	cmd := exec.Command("ip", args...)
	var out []byte
	var err error
	at.do(func() { out, err = cmd.CombinedOutput() })
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// link joins two places with a veth pair of these names, and sets both ends up.
func link(t *testing.T, a place, nameA string, b *namespace, nameB string) {
	t.Helper()
	ip(t, a, "link", "add", nameA, "type", "veth", "peer", "name", nameB, "netns", strconv.Itoa(b.id))
	t.Cleanup(func() { ip(t, a, "link", "del", nameA) })
	ip(t, a, "link", "set", nameA, "up")
	ip(t, b, "link", "set", nameB, "up")
}

// spoofer sends datagrams from any source address: raw(7).
type spoofer struct{ fd int }

func newSpoofer(t *testing.T, at place) spoofer {
	t.Helper()
	needNamespace(t)
	fd, err := -1, error(nil)
	at.do(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW) })
	if err != nil {
		lacking(t, "no raw socket: "+err.Error())
	}
	t.Cleanup(func() { unix.Close(fd) })
	return spoofer{fd}
}

const (
	ipHeader  = 20
	udpHeader = 8
)

// send sends a datagram over IPv4. The kernel computes the header's checksum. There is none of UDP, which RFC 768 allows.
func (s spoofer) send(from, to netip.AddrPort, data []byte) error {
	b := make([]byte, ipHeader+udpHeader+len(data))
	b[0] = 4<<4 | ipHeader/4
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
	b[8] = 64 // hops
	b[9] = unix.IPPROTO_UDP
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	udp := b[ipHeader:]
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(udpHeader+len(data)))
	copy(udp[udpHeader:], data)
	return unix.Sendto(s.fd, b, 0, &unix.SockaddrInet4{Addr: dst})
}

// sniffer receives copies of all IPv4 datagrams that arrive at a place: raw(7).
type sniffer struct{ fd int }

// seen is a datagram that a sniffer received.
type seen struct {
	from, to netip.AddrPort
	data     []byte
}

func (s seen) String() string { return fmt.Sprintf("%v to %v: %.80q", s.from, s.to, s.data) }

func newSniffer(t *testing.T, at place) sniffer {
	t.Helper()
	needNamespace(t)
	fd, err := -1, error(nil)
	at.do(func() { fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP) })
	if err != nil {
		lacking(t, "no raw socket: "+err.Error())
	}
	t.Cleanup(func() { unix.Close(fd) })
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	return sniffer{fd}
}

// tooMany is a number of datagrams that only a reply loop reaches.
const tooMany = 50_000

// all returns the datagrams since the last call, up to tooMany.
func (s sniffer) all(t *testing.T) (all []seen) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for len(all) < tooMany {
		n, _, err := unix.Recvfrom(s.fd, buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return all
		}
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		head := int(buf[0]&0xf) * 4
		if n < head+udpHeader {
			continue
		}
		udp := buf[head:n]
		all = append(all, seen{
			netip.AddrPortFrom(netip.AddrFrom4([4]byte(buf[12:16])), binary.BigEndian.Uint16(udp)),
			netip.AddrPortFrom(netip.AddrFrom4([4]byte(buf[16:20])), binary.BigEndian.Uint16(udp[2:])),
			append([]byte(nil), udp[udpHeader:]...),
		})
	}
	return all
}
