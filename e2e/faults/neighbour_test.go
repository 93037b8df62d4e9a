//go:build linux

package faults_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSilentNeighboursHoldUpNobody: datagrams whose source is an address on nowd's own link that nobody has. The kernel
// keeps each answer until address resolution fails, and charges it to the socket that sent it.
func TestSilentNeighboursHoldUpNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 25 s")
	}
	for _, c := range []struct{ family, here, far, silent string }{
		{"IPv4", "198.18.77.1/24", "198.18.77.2/24", "198.18.77.9"},
		{"IPv6", "fd00:77::1/64", "fd00:77::2/64", "fd00:77::9"},
	} {
		for _, loops := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, loops: %d", c.family, loops), func(t *testing.T) {
				far := newNamespace(t)
				link(t, here(), "nowd3", far, "far3")
				ip(t, here(), addressArgs(c.here, "nowd3")...)
				ip(t, far, addressArgs(c.far, "far3")...)
				n := start(t, here(), fmt.Sprintf("NOWD_LOOPS=%d", loops))
				target := netip.AddrPortFrom(netip.MustParsePrefix(c.here).Addr(), uint16(n.port))
				floodAndAsk(t, far, netip.MustParseAddr(c.silent), target)
			})
		}
	}
}

func addressArgs(address, name string) []string {
	args := []string{"address", "add", address, "dev", name}
	if netip.MustParsePrefix(address).Addr().Is6() {
		args = append(args, "nodad")
	}
	return args
}

// floodAndAsk sends 300 datagrams a second from silent and the addresses after it, which nobody has, for some seconds.
// Honest clients ask all the while, and nearly all of what they ask is answered.
//
// The kernel keeps no more for one neighbour than one send buffer holds. So it takes several to fill those of two loops.
func floodAndAsk(t *testing.T, far *namespace, silent netip.Addr, target netip.AddrPort) {
	const interval, lasting, clients = time.Second / 300, 5 * time.Second, 8
	spoof := newSpoofer(t, far).send
	if target.Addr().Is6() {
		spoof = newSpoofer6(t, far).send
	}
	var conns []net.Conn
	for range clients {
		conn, err := far.dial("udp", target.String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	// The link may have come up only now, and a neighbour that does not answer at once is asked again after a second.
	eventually(t, patience, func() error { return ask(conns[0]) })
	sources := make([]netip.Addr, 16)
	for i := range sources {
		sources[i] = silent
		silent = silent.Next()
	}
	stop := make(chan struct{})
	time.AfterFunc(lasting, func() { close(stop) })
	flooded := make(chan int)
	go func() {
		sent := 0
		for began := time.Now(); !closed(stop); time.Sleep(interval) {
			for ; sent < int(time.Since(began)/interval); sent++ {
				if err := spoof(netip.AddrPortFrom(sources[sent%len(sources)], uint16(20_000+sent%900)), target, []byte("hi")); err != nil {
					t.Errorf("spoof: %v", err)
				}
			}
		}
		flooded <- sent
	}()
	var tries, answered, longest atomic.Int64
	each(clients, stop, func(i int) {
		time.Sleep(pace)
		began := time.Now()
		tries.Add(1)
		if ask(conns[i]) == nil {
			answered.Add(1)
			longest.Store(max(longest.Load(), int64(time.Since(began))))
		}
	})
	sent := <-flooded
	t.Logf("%d spoofed; honest clients: %d of %d answered, the latest after %v", sent, answered.Load(), tries.Load(), time.Duration(longest.Load()))
	if sent < 600 {
		t.Errorf("%d spoofed datagrams fill no send buffer", sent)
	}
	if 100*answered.Load() < 99*tries.Load() || tries.Load() < 100 {
		t.Errorf("%d of %d answered, want 99 %%", answered.Load(), tries.Load())
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

// spoofer6 sends datagrams over IPv6 from whatever address it likes: man 7 raw.
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
