//go:build linux

package faults_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// The Loop DoS of UDP services, CVE-2024-2169: one datagram with another service as its spoofed source starts a reply loop
// between two services.

// spoofs returns contents of such a datagram. A longer request gets a longer answer.
func spoofs() []string {
	now := time.Now().UTC()
	all := []string{
		"", "hi", "\n", "\x00",
		now.Format("2006-01-02 15:04:05.000000\n"),
		now.Format("2006-01-02T15:04:05.000000000Z\n"),
		fmt.Sprintf("%d\n", now.UnixNano()),
		"- - unsynced\n",
	}
	for _, word := range words {
		all = append(all, word, word+strings.Repeat(" ", 600))
	}
	return all
}

// service is a service that answers datagrams.
type service struct {
	name string
	addr netip.AddrPort
	nowd *nowd // nil: another program
}

// services starts a nowd for each default form, with different zones. Each has an address of its own, and this port, or
// if it is 0, a port of its own.
func services(t *testing.T, network byte, port int) (all []service) {
	t.Helper()
	zones := []string{"UTC", "Asia/Kathmandu", "America/St_Johns"}
	for i, word := range words[:len(words)-1] { // NOWD_FORMAT cannot be help
		p := port
		if p == 0 {
			p = freePort(t)
		}
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 2, network, byte(1 + i)}), uint16(p))
		n := start(t, here(),
			"TZ="+zones[i%len(zones)], "NOWD_FORMAT="+word, fmt.Sprintf("NOWD_NEWLINE=%t", i%2 == 0),
			"NOWD_UDP_LISTEN="+addr.String(), "NOWD_TCP_LISTEN="+addr.String())
		n.host, n.port = addr.Addr().String(), p
		all = append(all, service{fmt.Sprintf("%s at %d", word, p), addr, n})
	}
	return all
}

func TestTwoNowdsExchangeAtMostOneDatagram(t *testing.T) {
	needNamespace(t)
	port := freePort(t)
	first := services(t, 1, port)
	for what, second := range map[string][]service{"same port": services(t, 2, port), "different ports": services(t, 3, 0)} {
		t.Run(what, func(t *testing.T) {
			spoofer, sniffer := newSpoofer(t, here()), newSniffer(t, here())
			// Each content, from each service to each other: count the datagrams that follow.
			run := func(t *testing.T, _ *nowd, _ <-chan struct{}, y *tally) {
				exchanged := 0
				for _, content := range spoofs() {
					for _, there := range []bool{true, false} {
						for _, a := range first {
							for _, b := range second {
								from, to := a.addr, b.addr
								if !there {
									from, to = to, from
								}
								if err := spoofer.send(from, to, []byte(content)); err != nil {
									t.Fatal(err)
								}
								y.cost.datagrams.Add(1)
							}
						}
						between := exchange(t, sniffer, slices.Concat(first, second))
						for _, a := range first {
							for _, b := range second {
								all := between[[2]netip.AddrPort{a.addr, b.addr}]
								n := len(all) - 1 // without the spoofed one
								exchanged += n
								if n > 1 {
									t.Errorf("%s and %s exchange %d datagrams after one spoofed, %.30q: %v",
										a.name, b.name, n, content, all[:min(n, 6)])
								}
							}
						}
						if t.Failed() {
							return
						}
					}
				}
				switch {
				case what == "same port" && exchanged > 0:
					t.Errorf("%d datagrams are exchanged between services at the same port, where there is no client", exchanged)
				case what != "same port" && exchanged == 0:
					t.Error("no service answers at all, so the test shows nothing")
				}
				y.remark("%s datagrams exchanged after the spoofed ones", grouped(exchanged))
			}
			withstand(t, first[0].nowd, 0, fault{name: "set two nowds talking, " + what, run: run, once: true})
		})
	}
}

// exchange returns the datagrams between each two of all services, in order. A service answers its datagrams in order. So when
// all have answered a client that asks after the spoofed datagrams, they have handled these. When all have answered it again,
// they have handled each other's answers too. By then a reply loop has gone round.
func exchange(t *testing.T, s sniffer, all []service) map[[2]netip.AddrPort][]seen {
	t.Helper()
	for range 3 {
		for _, one := range all {
			one.ask(t)
		}
	}
	between := make(map[[2]netip.AddrPort][]seen)
	for _, one := range s.all(t) {
		pair := [2]netip.AddrPort{one.from, one.to}
		if one.from.Compare(one.to) > 0 {
			slices.Reverse(pair[:])
		}
		between[pair] = append(between[pair], one)
	}
	return between
}

// ask asks the service, and waits for its answer.
func (s service) ask(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("udp", s.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("unix")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 100)); err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
}

// An echo service answers everything, so nowd's answer to a spoofed datagram comes back, once. nowd does not answer it,
// so nowd sends at most one datagram. If the spoofed datagram goes to the echo service, the echo service sends two.
func TestEchoServiceIsAnsweredAtMostOnce(t *testing.T) {
	needNamespace(t)
	const host = "127.2.9.9" // one address, from which its answers then come
	echo := service{name: "echo", addr: netip.AddrPortFrom(netip.MustParseAddr(host), uint16(startEcho(t, here(), host)))}
	all := services(t, 4, 0)
	spoofer, sniffer := newSpoofer(t, here()), newSniffer(t, here())
	run := func(t *testing.T, _ *nowd, _ <-chan struct{}, y *tally) {
		given := 0
		for _, content := range spoofs() {
			for _, toEcho := range []bool{false, true} {
				for _, nowd := range all {
					from, to := echo, nowd
					if toEcho {
						from, to = to, from
					}
					if err := spoofer.send(from.addr, to.addr, []byte(content)); err != nil {
						t.Fatal(err)
					}
					y.cost.datagrams.Add(1)
				}
				between := exchange(t, sniffer, append(all, echo))
				for _, nowd := range all {
					pair := [2]netip.AddrPort{nowd.addr, echo.addr}
					answers := -1 // the spoofed datagram counts as one of nowd's
					if !toEcho {
						answers = 0
					}
					for _, one := range between[pair] {
						if one.from == nowd.addr {
							answers++
						}
					}
					given += answers
					if answers > 1 {
						t.Errorf("%s sends %d answers to an echo service after one spoofed datagram, %.30q: %v",
							nowd.name, answers, content, between[pair][:min(len(between[pair]), 6)])
					}
				}
				if t.Failed() {
					return
				}
			}
		}
		if given == 0 {
			t.Error("no service answers at all, so the test shows nothing")
		}
		y.remark("%s answers to the spoofed datagrams", grouped(given))
	}
	withstand(t, all[0].nowd, 0, fault{name: "set nowd and an echo service talking", run: run, once: true})
}

// longestRun is the greatest number of answers in a row to one address and port.
const longestRun = 2000

// responder is a service that answers every datagram, answers included.
type responder struct {
	conn net.PacketConn
	got  atomic.Int64 // datagrams
}

func startResponder(t *testing.T, host string, takes time.Duration, answer func(question []byte) []byte) *responder {
	t.Helper()
	conn, err := net.ListenPacket("udp", fmt.Sprintf("%s:%d", host, freePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := &responder{conn: conn}
	go func() {
		for buf := make([]byte, 1<<10); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			r.got.Add(1)
			time.Sleep(takes)
			_, _ = conn.WriteTo(answer(buf[:n]), from)
		}
	}()
	return r
}

// Services at ephemeral ports that answer every datagram, for example with an error: after longestRun answers at most
// nowd ends the reply loop.
func TestReplyLoopWithAServiceEnds(t *testing.T) {
	needNamespace(t)
	line := func(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }
	formatError := func(question []byte) []byte { // RFC 1035, section 4.1.1
		return append(append(make([]byte, 0, 12), question[:2]...), 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0)
	}
	for i, c := range []struct {
		name   string
		takes  time.Duration
		answer func([]byte) []byte
	}{
		{"daytime service", 0, line("Sat Nov 21 01:17:42 2026\r\n")},
		{"DNS responder", 0, formatError},
		{"text protocol", 0, line("ERR unknown command\r\n")},
		{"slow text protocol", 500 * time.Microsecond, line("ERR unknown command\r\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // the test mostly waits for metrics
			n := start(t, here())
			r := startResponder(t, fmt.Sprintf("127.2.10.%d", 1+i), c.takes, c.answer)
			from := netip.MustParseAddrPort(r.conn.LocalAddr().String())
			spoofer := newSpoofer(t, here())
			run := func(t *testing.T, n *nowd, _ <-chan struct{}, y *tally) {
				const withheld = `nowd_drops_total{protocol="udp",reason="reply_loop"}`
				const answers = `nowd_answers_total{form="datetime",protocol="udp"}` // a form that no honest client requests
				before, gotBefore := n.metrics(t), r.got.Load()
				began := time.Now()
				if err := spoofer.send(from, netip.MustParseAddrPort(n.addr()), []byte("hi")); err != nil {
					t.Fatal(err)
				}
				y.cost.datagrams.Add(1)
				var m map[string]float64
				eventually(t, 4*patience, func() error {
					if got := r.got.Load() - gotBefore; got > longestRun {
						t.Fatalf("%d answers to one datagram, want %d at most", got, longestRun)
					}
					if m = n.metrics(t); m[withheld] == before[withheld] {
						return fmt.Errorf("the reply loop goes on, after %d answers", r.got.Load()-gotBefore)
					}
					return nil
				})
				took, got := time.Since(began), r.got.Load()-gotBefore
				if got < longestRun/2 || m[answers]-before[answers] != float64(got) || m[withheld]-before[withheld] != 1 {
					t.Errorf("the service got %v datagrams; nowd answered %v and withheld %v", got, m[answers]-before[answers], m[withheld]-before[withheld])
				}
				y.remark("%s answers in %v", grouped(int(got)), took.Round(time.Millisecond))
			}
			withstand(t, n, 0, fault{name: "set nowd talking with a " + c.name, run: run, once: true})
		})
	}
}
