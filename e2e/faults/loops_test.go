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

// The Loop DoS of UDP services, CVE-2024-2169: one datagram that claims to be from one service sets two answering each
// other for ever.

// spoofs are what an attacker may write into that datagram. What is longest gets the longest answer.
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

// service is one that answers datagrams.
type service struct {
	name string
	addr netip.AddrPort
	nowd *nowd // nil, if it is none
}

// services starts a nowd for each default format, each with another zone, at an address and a port of its own or, if
// port is not 0, at that one.
func services(t *testing.T, network byte, port int) (all []service) {
	t.Helper()
	zones := []string{"UTC", "Asia/Kathmandu", "America/St_Johns"}
	for i, word := range words[:len(words)-1] { // help is no default
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

func TestTwoNowdsExchangeOneDatagramAtTheMost(t *testing.T) {
	needNamespace(t)
	port := freePort(t)
	first := services(t, 1, port)
	for what, second := range map[string][]service{"same port": services(t, 2, port), "different ports": services(t, 3, 0)} {
		t.Run(what, func(t *testing.T) {
			spoofer, sniffer := newSpoofer(t, here()), newSniffer(t, here())
			// Each word, by each to each: how many datagrams there are after it.
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
								n := len(all) - 1 // but for the spoofed one
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
					t.Errorf("%d datagrams are exchanged between services at the same port, where no client is", exchanged)
				case what != "same port" && exchanged == 0:
					t.Error("nobody answers at all, so nothing is shown")
				}
				y.remark("%s datagrams exchanged after the spoofed ones", grouped(exchanged))
			}
			withstand(t, first[0].nowd, 0, fault{name: "set two nowds talking, " + what, run: run, once: true})
		})
	}
}

// exchange returns what has gone on between each two of all, in their order. Each answers what it is sent first first;
// so when all have answered a client that asks after the spoofed datagrams, these are dealt with, and when they have
// answered it again, so is what they sent each other. What goes round for ever has gone round, then.
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

// ask waits for an answer.
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

// An echo service answers everything, so nowd's answer to a spoofed datagram comes back once. That is the end of it: of
// nowd's own there is one at the most. If it is the echo that is asked first, it is the one that speaks twice.
func TestNowdAnswersAnEchoServiceOnceAtTheMost(t *testing.T) {
	needNamespace(t)
	const host = "127.2.9.9" // what it is asked at it answers from, as it would not at all addresses
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
					answers := -1 // the spoofed one is among those from whom it claims to be
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
						t.Errorf("%s gives %d answers to an echo service after one spoofed datagram, %.30q: %v",
							nowd.name, answers, content, between[pair][:min(len(between[pair]), 6)])
					}
				}
				if t.Failed() {
					return
				}
			}
		}
		if given == 0 {
			t.Error("nobody answers at all, so nothing is shown")
		}
		y.remark("%s answers to the spoofed datagrams", grouped(given))
	}
	withstand(t, all[0].nowd, 0, fault{name: "set nowd and an echo service talking", run: run, once: true})
}

// longestRun is how many answers in a row nowd gives to one address and port.
const longestRun = 2000

// responder is a service that answers everything, even answers.
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

// Services at ports of clients that answer whatever they are sent, be it that they do not understand: nowd answers them
// so often, and then the conversation is over.
func TestOneSpoofedDatagramHasNowdAnswerAServiceSoOftenAndNoMore(t *testing.T) {
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
			t.Parallel() // most of the time is spent on waiting for metrics
			n := start(t, here())
			r := startResponder(t, fmt.Sprintf("127.2.10.%d", 1+i), c.takes, c.answer)
			from := netip.MustParseAddrPort(r.conn.LocalAddr().String())
			spoofer := newSpoofer(t, here())
			run := func(t *testing.T, n *nowd, _ <-chan struct{}, y *tally) {
				const withheld = `nowd_drops_total{protocol="udp",reason="reply_loop"}`
				const answers = `nowd_answers_total{form="datetime",protocol="udp"}` // for which no honest client asks
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
						return fmt.Errorf("they talk on, after %d answers", r.got.Load()-gotBefore)
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
