//go:build linux

package faults_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The faults of networks: nowd is at one end of a cable. The other end, or the cable, causes the faults. The addresses are
// reserved for benchmarks of networks: RFC 2544, appendix C.2.2.

func TestVictimOfASpoofedFloodIsSentNoMoreThanItsLimit(t *testing.T) {
	needNamespace(t)
	const limit, burst, datagrams = 500, 100, 25_000
	n := start(t, here(), fmt.Sprintf("NOWD_RATE_LIMIT=%d", limit), fmt.Sprintf("NOWD_RATE_BURST=%d", burst))
	victim, err := net.ListenPacket("udp", "127.2.11.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	var got atomic.Int64
	go func() {
		for buf := make([]byte, 100); ; got.Add(1) {
			if _, _, err := victim.ReadFrom(buf); err != nil {
				return
			}
		}
	}()
	spoofer := newSpoofer(t, here())
	from, to := netip.MustParseAddrPort(victim.LocalAddr().String()), netip.MustParseAddrPort(n.addr())
	const answers = `nowd_answers_total{form="datetime",protocol="udp"}` // a form that no honest client requests
	run := func(t *testing.T, n *nowd, _ <-chan struct{}, y *tally) {
		before, gotBefore := n.metrics(t), got.Load()
		began := time.Now()
		for range datagrams {
			if err := spoofer.send(from, to, []byte("hi")); err != nil {
				t.Fatal(err)
			}
		}
		y.cost.datagrams.Add(datagrams)
		var sent float64
		eventually(t, patience, func() error {
			m := n.metrics(t)
			seen := 0.0
			for _, what := range []string{"nowd_requests_total", "nowd_receive_overflows_total"} {
				seen += m[what] - before[what]
			}
			if seen < datagrams {
				return fmt.Errorf("%v of %d datagrams have arrived", seen, datagrams)
			}
			if sent = m[answers] - before[answers]; sent != float64(got.Load()-gotBefore) {
				return fmt.Errorf("%v answers have left, %d have arrived", sent, got.Load()-gotBefore)
			}
			return nil
		})
		took := time.Since(began)
		if most := limit*took.Seconds() + burst*5/4; sent > most || sent < burst {
			t.Errorf("%v answers to %d datagrams in %v, want %d to %.0f", sent, datagrams, took, burst, most)
		}
		y.remark("the victim got %s answers in %v", grouped(int(sent)), took.Round(time.Millisecond))
	}
	questions := []question{{Kind: "udp", Askers: 1}, {Kind: "tcp"}, {Kind: "new"}}
	withstand(t, n, 0, fault{name: "flood a victim, in its name", run: run, questions: questions, lossy: true, once: true})
}

func TestSpoofedFloodLeavesHonestClientsAnAnswerInFourTries(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	f := spoofedFlood(t)
	n := start(t, here(), "NOWD_RATE_BURST=100") // soon used up
	var rounds []*observation
	for _, d := range [attackRounds]time.Duration{2 * brief, brief} {
		o := examine(t, n, f.name, d, f)
		if sent := float64(o.tally.done.Load()); sent < 33_000*d.Seconds() {
			t.Errorf("%v datagrams in %v are no flood", sent, d)
		}
		rounds = append(rounds, o)
	}
	f.name = "flood from 16 million addresses and in the honest clients' name"
	attackTable.add(newAttackRow(t, f, rounds))
}

// spoofedFlood returns a fault: datagrams from 16 million spoofed addresses, and, from the address of the honest
// clients, twice the limit of a source.
func spoofedFlood(t *testing.T) fault {
	t.Helper()
	attacker := newNamespace(t)
	link(t, here(), "nowd0", attacker, "far0")
	ip(t, here(), "address", "add", "198.18.0.1/24", "dev", "nowd0")
	ip(t, attacker, "address", "add", "198.18.0.2/24", "dev", "far0")
	// A route for the answers, to a namespace that drops them.
	ip(t, here(), "route", "add", "10.0.0.0/8", "via", "198.18.0.2")
	ip(t, attacker, "route", "add", "blackhole", "10.0.0.0/8")
	spoofer := newSpoofer(t, attacker)
	honest := netip.MustParseAddr("198.18.0.2")
	run := func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
		target := netip.AddrPortFrom(netip.MustParseAddr("198.18.0.1"), uint16(n.port))
		const rate = 2 * 2000 // of the datagrams with the honest clients' address
		began, inTheirName := time.Now(), 0
		var r [8]byte
		each(1, stop, func(int) {
			for range 128 {
				binary.NativeEndian.PutUint64(r[:], rand.Uint64())
				source := netip.AddrFrom4([4]byte{10, r[0], r[1], r[2]})
				if time.Duration(inTheirName)*time.Second/rate < time.Since(began) {
					source = honest
					inTheirName++
				}
				// From no ephemeral port: the honest clients must receive only their own answers.
				port := 1024 + binary.NativeEndian.Uint16(r[4:])%30_000
				if spoofer.send(netip.AddrPortFrom(source, port), target, []byte("hi")) == nil {
					y.done.Add(1)
					y.cost.datagrams.Add(1)
				}
			}
		})
	}
	return fault{name: "spoofed flood", run: run, lossy: true, alike: true, from: attacker, host: "198.18.0.1"}
}

func TestLossAndReorderingCostNoAnswerOwed(t *testing.T) {
	f := lossyCable(t)
	n := start(t, here())
	if o := examine(t, n, f.name, 2*brief, f); o.tally.done.Load() == 0 {
		t.Error("the fault did nothing")
	}
}

// lossyCable returns a fault: clients at the other end of a cable that loses, doubles and reorders packets. They are
// owed their answers over TCP. The honest clients are at nowd's end.
func lossyCable(t *testing.T) fault {
	t.Helper()
	far, middle := newNamespace(t), newNamespace(t)
	link(t, here(), "nowd1", middle, "mid0")
	link(t, far, "far1", middle, "mid1")
	ip(t, here(), "address", "add", "198.19.0.1/24", "dev", "nowd1")
	ip(t, far, "address", "add", "198.19.0.2/24", "dev", "far1")
	for at, name := range map[place]string{here(): "nowd1", far: "far1"} {
		if err := sendWhole(at, name); err != nil {
			lacking(t, "cannot make the cable's ends compute checksums: "+err.Error())
		}
	}
	c := newCable(t, middle, "mid0", "mid1")

	run := func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
		target := fmt.Sprintf("198.19.0.1:%d", n.port)
		before := c.disturbed.Load()
		var datagrams sync.WaitGroup
		var tries, answers atomic.Int64
		datagrams.Go(func() { askOverCable(t, far, target, stop, &tries, &answers) })
		each(30, stop, func(int) {
			const requests = 3
			y.owed.Add(requests)
			answered, err := converse(far, target, requests)
			if y.lost.Add(int64(requests - answered)); err != nil {
				t.Errorf("over a lossy cable: %d of %d answers over TCP, %v", answered, requests, err)
			}
		})
		datagrams.Wait()
		y.done.Add(c.disturbed.Load() - before)
		if tries, answers := tries.Load(), answers.Load(); tries > 20 && 2*answers < tries {
			t.Errorf("over a lossy cable: %d answers to %d datagrams", answers, tries)
		}
	}
	return fault{name: "loss and reordering", run: run}
}

// converse sends this many requests, each after the previous answer, and returns the number of answers.
func converse(from *namespace, target string, requests int) (answered int, err error) {
	before := time.Now()
	conn, err := from.dial("tcp", target)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	buf := make([]byte, 100)
	for range requests {
		if _, err := io.WriteString(conn, "unixns\n"); err != nil {
			return answered, err
		}
		n := 0
		for n == 0 || buf[n-1] != '\n' {
			m, err := conn.Read(buf[n:])
			if err != nil {
				return answered, err
			}
			n += m
		}
		if err := verify("unixns", string(buf[:n-1]), before, time.Now()); err != nil {
			return answered, err
		}
		answered++
	}
	return answered, nil
}

// askOverCable asks over UDP. No answer is owed, but most requests get one.
func askOverCable(t *testing.T, from *namespace, target string, stop <-chan struct{}, tries, answers *atomic.Int64) {
	conn, err := from.dial("udp", target)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	began, buf := time.Now(), make([]byte, 100)
	each(1, stop, func(int) {
		tries.Add(1)
		if _, err := io.WriteString(conn, "unixns"); err != nil {
			t.Error(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(datagramTimeout))
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		answers.Add(1)
		if err := verify("unixns", string(buf[:max(n, 1)-1]), began, time.Now()); err != nil {
			t.Error(err)
		}
	})
}

// dial connects from the namespace. Unlike do it does not wait for other functions.
func (ns *namespace) dial(network, addr string) (conn net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Never unlocked, so that the thread ends with the goroutine.
		runtime.LockOSThread()
		var fd int
		if fd, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", ns.id), unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return
		}
		defer unix.Close(fd)
		if err = unix.Setns(fd, unix.CLONE_NEWNET); err == nil {
			conn, err = net.DialTimeout(network, addr, 2*patience)
		}
	}()
	<-done
	return conn, err
}

// cable forwards frames between two interfaces: packet(7). It loses, doubles and reorders some of those of IPv4.
type cable struct {
	ends      [2]int
	stopping  atomic.Bool
	passing   sync.WaitGroup
	disturbed atomic.Int64 // number of frames lost, doubled or delayed
}

// Out of a hundred frames.
const (
	lostOf100      = 4
	doubledOf100   = 2
	overtakenOf100 = 10
)

func newCable(t *testing.T, at *namespace, names ...string) *cable {
	t.Helper()
	c := new(cable)
	for i, name := range names {
		var err error
		at.do(func() { c.ends[i], err = openInterface(name) })
		if err != nil {
			lacking(t, "no packet socket: "+err.Error())
		}
	}
	for i := range c.ends {
		c.passing.Go(func() { c.pass(c.ends[i], c.ends[1-i]) })
	}
	t.Cleanup(func() {
		c.stopping.Store(true)
		c.passing.Wait()
		for _, fd := range c.ends {
			unix.Close(fd)
		}
	})
	return c
}

func openInterface(name string) (fd int, err error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return -1, err
	}
	all := uint16(unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8)
	if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(all)); err != nil {
		return -1, err
	}
	// Without the frames that the cable itself sends.
	err = errors.Join(
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 5000}))
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (c *cable) pass(from, to int) {
	buf := make([]byte, 1<<16)
	var held []byte // a frame that the next one overtakes
	send := func(frame []byte) { _, _ = unix.Write(to, frame) }
	for !c.stopping.Load() {
		n, err := unix.Read(from, buf)
		if err == nil {
			frame, chance := buf[:n], rand.IntN(100)
			if n < 14 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP {
				chance = 100
			}
			if chance < lostOf100+doubledOf100+overtakenOf100 {
				c.disturbed.Add(1)
			}
			switch {
			case chance < lostOf100:
				continue
			case chance < lostOf100+doubledOf100:
				send(frame)
			case chance < lostOf100+doubledOf100+overtakenOf100 && held == nil:
				held = append(held, frame...)
				continue
			}
			send(frame)
		}
		// Without a next frame, after a few milliseconds.
		if held != nil {
			send(held)
			held = nil
		}
	}
}
