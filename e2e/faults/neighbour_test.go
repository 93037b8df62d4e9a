//go:build linux

package faults_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSilentNeighboursHoldUpNobody: datagrams whose source is an unused address on nowd's own link. The kernel holds
// each answer until address resolution fails, and charges it to the sending socket.
func TestSilentNeighboursHoldUpNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 25 s")
	}
	for _, l := range neighbourLinks {
		for _, loops := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, loops: %d", l.family, loops), func(t *testing.T) {
				far := l.up(t)
				n := start(t, here(), fmt.Sprintf("NOWD_LOOPS=%d", loops))
				floodAndAsk(t, n, far, l, l.at(n.port), loops, fmt.Sprintf("senders that do not exist, %s, loops: %d", l.family, loops))
			})
		}
	}
}

// TestSilentNeighboursHoldUpNobodyAtALowPort: nowd has given up the right to bind to its port, so it cannot open
// another socket there.
func TestSilentNeighboursHoldUpNobodyAtALowPort(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 12 s")
	}
	const port = 1019
	for _, l := range neighbourLinks {
		t.Run(l.family, func(t *testing.T) {
			far := l.up(t)
			n := start(t, here(), "NOWD_UDP_LISTEN="+l.at(port).String())
			eventually(t, patience, func() error {
				status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.pid()))
				if err == nil && !strings.Contains(string(status), "CapPrm:\t0000000000000000\n") {
					err = fmt.Errorf("nowd has capabilities:\n%s", status)
				}
				return err
			})
			floodAndAsk(t, n, far, l, l.at(port), 1, fmt.Sprintf("senders that do not exist, %s, port below 1024", l.family))
			replaced := n.metrics(t)["nowd_sender_replacements_total"]
			t.Logf("replaced %v times", replaced)
			if replaced == 0 {
				t.Error("no send buffer was full, so the test shows nothing")
			}
		})
	}
}

// neighbourLink is a link between nowd and its clients. Addresses from silent on are unused.
type neighbourLink struct{ family, here, far, silent string }

var neighbourLinks = []neighbourLink{
	{"IPv4", "198.18.77.1/24", "198.18.77.2/24", "198.18.77.9"},
	{"IPv6", "fd00:77::1/64", "fd00:77::2/64", "fd00:77::9"},
}

// up sets the link up, and returns the namespace of its far end.
func (l neighbourLink) up(t *testing.T) *namespace {
	t.Helper()
	far := newNamespace(t)
	link(t, here(), "nowd3", far, "far3")
	ip(t, here(), addressArgs(l.here, "nowd3")...)
	ip(t, far, addressArgs(l.far, "far3")...)
	return far
}

// at returns nowd's address on the link, with a port.
func (l neighbourLink) at(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParsePrefix(l.here).Addr(), uint16(port))
}

func addressArgs(address, name string) []string {
	args := []string{"address", "add", address, "dev", name}
	if netip.MustParsePrefix(address).Addr().Is6() {
		args = append(args, "nodad")
	}
	return args
}

// floodAndAsk sends 300 datagrams a second from unused addresses, for some seconds. Honest clients ask meanwhile, and get
// answers to nearly all requests.
//
// The kernel holds at most one send buffer's worth for one neighbour. So it takes several neighbours to fill two loops'
// buffers.
func floodAndAsk(t *testing.T, n *nowd, far *namespace, l neighbourLink, target netip.AddrPort, loops int, name string) {
	t.Helper()
	const interval, leastTries = time.Second / 300, 100
	lasting := time.Duration(1+loops) * time.Second // a send buffer holds 256
	leastSent := 250 * (1 + loops)
	spoof := newSpoofer(t, far).send
	if target.Addr().Is6() {
		spoof = newSpoofer6(t, far).send
	}
	// The link may have come up only now, and the kernel repeats address resolution after a second.
	conn, err := far.dial("udp", target.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	eventually(t, patience, func() error { return ask(conn) })
	sources := []netip.Addr{netip.MustParseAddr(l.silent)}
	for len(sources) < 16 {
		sources = append(sources, sources[len(sources)-1].Next())
	}
	run := func(t *testing.T, _ *nowd, stop <-chan struct{}, y *tally) {
		sent := 0
		for began := time.Now(); !closed(stop); time.Sleep(interval) {
			for ; sent < int(time.Since(began)/interval); sent++ {
				if err := spoof(netip.AddrPortFrom(sources[sent%len(sources)], uint16(20_000+sent%900)), target, []byte("hi")); err != nil {
					t.Errorf("spoof: %v", err)
				}
			}
		}
		y.cost.datagrams.Add(int64(sent))
		if sent < leastSent {
			t.Errorf("%d spoofed datagrams do not fill a send buffer", sent)
		}
	}
	questions := []question{{Kind: "udp", Addr: target.String(), Askers: 8, Lossy: true}, {Kind: "tcp"}, {Kind: "new"}}
	f := fault{name: name, run: run, questions: questions, from: far, host: target.Addr().String()}
	for _, o := range together(withstand(t, n, lasting, f)) {
		t.Logf("honest clients (%s): %d of %d answered, the latest after %v", o.Kind, o.Answered, o.Tries, o.Max)
		if o.Tries < leastTries {
			t.Errorf("%d tries are too few", o.Tries)
		}
	}
}

// ask asks over UDP and waits for the answer.
func ask(conn net.Conn) error {
	if _, err := io.WriteString(conn, "unixns"); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(datagramTimeout))
	_, err := conn.Read(make([]byte, 100))
	return err
}

// spoofer6 sends datagrams over IPv6 from any source address: raw(7).
type spoofer6 struct{ fd int }

func newSpoofer6(t *testing.T, at place) spoofer6 {
	t.Helper()
	fd, err := -1, error(nil)
	at.do(func() { fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW) })
	if err != nil {
		lacking(t, "no raw socket: "+err.Error())
	}
	t.Cleanup(func() { unix.Close(fd) })
	return spoofer6{fd}
}

const ip6Header = 40

// send sends a datagram. Over IPv6 UDP has a checksum: RFC 8200, section 8.1.
func (s spoofer6) send(from, to netip.AddrPort, data []byte) error {
	length := udpHeader + len(data)
	b := make([]byte, ip6Header+length)
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(length))
	b[6], b[7] = unix.IPPROTO_UDP, 64 // hops
	src, dst := from.Addr().As16(), to.Addr().As16()
	copy(b[8:], src[:])
	copy(b[24:], dst[:])
	udp := b[ip6Header:]
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(length))
	copy(udp[udpHeader:], data)
	sum := uint32(length + unix.IPPROTO_UDP)
	for i := 8; i < len(b); i += 2 { // the addresses and the datagram
		sum += uint32(b[i]) << 8
		if i+1 < len(b) {
			sum += uint32(b[i+1])
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(udp[6:], ^uint16(sum))
	return unix.Sendto(s.fd, b, 0, &unix.SockaddrInet6{Addr: dst})
}
