//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// wire is a veth pair between a host that runs nowd and a host of clients.
type wire struct{ server, client *namespace }

// The interfaces and addresses of both ends, and nowd's ports there.
const (
	serverLink, clientLink = "srv0", "cli0"
	server4, client4       = "192.0.2.1", "192.0.2.2"
	server6, client6       = "2001:db8::1", "2001:db8::2"
)

func newWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{newNamespace(t), newNamespace(t)}
	w.join(t)
	return w
}

// join makes the veth pair.
func (w *wire) join(t *testing.T) {
	t.Helper()
	w.server.ip(t, "link", "add", serverLink, "type", "veth", "peer", "name", clientLink, "netns", strconv.Itoa(w.client.id))
	w.server.ip(t, "link", "set", serverLink, "up")
	w.client.ip(t, "link", "set", clientLink, "up")
	w.server.addAddress(t, serverLink, server4)
	w.server.addAddress(t, serverLink, server6)
	w.client.addAddress(t, clientLink, client4)
	w.client.addAddress(t, clientLink, client6)
	w.carryXDP(t)
}

// carryXDP has the client's end run a program that passes everything. Without a
// program it drops the frames that the driver of the other end sends.
func (w *wire) carryXDP(t *testing.T) {
	t.Helper()
	pass, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		lacking(t, "no XDP: "+err.Error())
	}
	defer pass.Close()
	var l link.Link
	w.client.do(func() {
		var in *net.Interface
		if in, err = net.InterfaceByName(clientLink); err == nil {
			l, err = link.AttachXDP(link.XDPOptions{Program: pass, Interface: in.Index, Flags: link.XDPDriverMode})
		}
	})
	if err != nil {
		lacking(t, "no XDP on a veth: "+err.Error())
	}
	t.Cleanup(func() { l.Close() })
}

// xdpSettings returns the settings of a nowd that serves text and NTP at all addresses, and has the driver answer.
func xdpSettings(mode string, more ...string) []string {
	return append([]string{
		"TZ=UTC", "GORACE=atexit_sleep_ms=0", "NOWD_RATE_LIMIT=off",
		"NOWD_UDP_LISTEN=:3333", "NOWD_TCP_LISTEN=:3333", "NOWD_NTP_LISTEN=:123", "NOWD_HEALTH_LISTEN=127.0.0.1:8086",
		"NOWD_XDP=" + serverLink + mode,
	}, more...)
}

// start starts a nowd with these settings and a synchronised clock, and waits until it is ready.
func (w *wire) start(t *testing.T, env []string) *nowd {
	t.Helper()
	path, err := fakeBinary()
	if err != nil {
		t.Fatal(err)
	}
	state, err := json.Marshal(synced)
	if err != nil {
		t.Fatal(err)
	}
	n := &nowd{udp: server4 + ":3333", tcp: server4 + ":3333", health: "127.0.0.1:8086", ns: w.server}
	n.run(t, path, append(slices.Clone(env), "FAKE_CLOCK="+string(state)))
	n.awaitReady(t, 200)
	return n
}

// dial returns a connection from the client's end.
func (w *wire) dial(t *testing.T, network, addr string) (conn net.Conn) {
	t.Helper()
	var err error
	w.client.do(func() { conn, err = net.DialTimeout(network, addr, patience) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// wake keeps the driver awake until the test ends: it asks the sockets, so that nowd writes the time for the driver. It waits
// until the driver answers.
func (w *wire) wake(t *testing.T, n *nowd) {
	t.Helper()
	sockets := w.dial(t, "udp", server4+":3333")
	ticker := time.NewTicker(300 * time.Millisecond)
	done := make(chan struct{})
	t.Cleanup(func() {
		ticker.Stop()
		close(done)
	})
	go func() {
		for {
			_, _ = sockets.Write([]byte("unix")) // a word: the driver leaves it to the sockets
			select {
			case <-done:
				return
			case <-ticker.C:
			}
		}
	}()
	conn := w.dial(t, "udp", server4+":3333")
	before := n.driverAnswers(t)
	eventually(t, patience, func() error {
		askOn(t, conn, "")
		if n.driverAnswers(t) == before {
			return fmt.Errorf("the driver has still given %v answers", before)
		}
		return nil
	})
}

// driverStatus is the driver's part of /status. Unlike metrics, it is always current.
type driverStatus struct {
	Attached bool
	Answers  uint64
}

func (n *nowd) driver(t *testing.T) driverStatus {
	t.Helper()
	_, body, err := n.get("/status", patience)
	var status struct{ Driver *driverStatus }
	if err == nil {
		err = json.Unmarshal([]byte(body), &status)
	}
	if err != nil || status.Driver == nil {
		t.Fatalf("/status: %v\n%s", err, body)
	}
	return *status.Driver
}

// driverAnswers returns the number of answers by the driver.
func (n *nowd) driverAnswers(t *testing.T) uint64 {
	t.Helper()
	return n.driver(t).Answers
}

// hasProgram reports whether a program is attached to the server's interface.
func (w *wire) hasProgram(t *testing.T) bool {
	t.Helper()
	shown := runIn(t, w.server, "ip -o link show "+serverLink, "")
	return strings.Contains(shown.stdout, "prog/xdp")
}
