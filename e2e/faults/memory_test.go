//go:build linux

package faults_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/tcp"
)

// hostile is a client whose connection costs nowd as much memory as possible.
type hostile struct {
	buffer int    // its receive buffer
	send   []byte // sent repeatedly
	piece  int    // bytes sent at a time
	read   int    // bytes read at a time
	half   bool   // half-closes when all is sent, and opens another connection

	withhold bool // acknowledges no answer
}

// onlyEmptySegments is a socket filter that drops segments with data before TCP receives them, so that TCP does not
// acknowledge them. It compares the segment's length with its header's.
var onlyEmptySegments = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 12},
	{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: 0xf0},
	{Code: unix.BPF_ALU | unix.BPF_RSH | unix.BPF_K, K: 2},
	{Code: unix.BPF_MISC | unix.BPF_TAX},
	{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_LEN},
	{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_X, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
}

// connect starts to open a connection, without blocking.
func (h hostile) connect(port int, e *expense) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	if h.buffer > 0 {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, h.buffer)
	}
	if h.withhold {
		_ = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(onlyEmptySegments)), Filter: &onlyEmptySegments[0]})
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
	e.connections.Add(1)
	return fd, nil
}

// attack keeps conns hostile connections open until stop is closed. It replaces those that nowd closes.
func (h hostile) attack(port, conns int, stop <-chan struct{}, e *expense) {
	fds := make([]int, conns)
	sent := make([]int, conns)
	for i := range fds {
		fds[i] = -1
	}
	const maxKept = 5000
	var kept []int
	defer func() {
		for _, fd := range append(fds, kept...) {
			if fd >= 0 {
				_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // a reset
				_ = unix.Close(fd)
			}
		}
	}()
	in := make([]byte, h.read+1)
	for !closed(stop) {
		for i, fd := range fds {
			if fd < 0 {
				fd, err := h.connect(port, e)
				if err != nil {
					continue
				}
				fds[i], sent[i] = fd, 0
				e.held.Store(max(e.held.Load(), int64(conns+len(kept))))
				continue
			}
			at := sent[i] % len(h.send)
			m, err := unix.Write(fd, h.send[at:min(len(h.send), at+h.piece)])
			sent[i] += max(0, m)
			e.bytes.Add(int64(max(0, m)))
			gone := err != nil && err != unix.EAGAIN && err != unix.ENOTCONN
			if h.half && sent[i] >= len(h.send) && len(kept) < maxKept {
				_ = unix.Shutdown(fd, unix.SHUT_WR)
				kept = append(kept, fd) // closing it would reset the connection
				fds[i] = -1
				continue
			}
			if h.read > 0 {
				m, err := unix.Read(fd, in[:h.read])
				gone = gone || m == 0 && err == nil
			}
			if gone {
				_ = unix.Close(fd)
				fds[i] = -1
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// TestMemoryStaysBelowItsFigure: all connections are hostile, of one kind after the other. nowd's memory above its idle
// memory, with the kernel's for its connections, stays below tcp.MaxMemory, and honest clients get answers.
func TestMemoryStaysBelowItsFigure(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const conns, lasting = 2000, time.Second
	head := append([]byte("GET / HTTP/1.1\r\nX: "), bytes.Repeat([]byte("x"), 1<<20)...)
	flood := bytes.Repeat([]byte("json\n"), 4000)
	for _, kind := range []struct {
		name string
		hostile
	}{
		{"HTTP heads of 8 KiB without an end", hostile{send: head[:8100], piece: 8100}},
		{"HTTP heads that grow without an end", hostile{send: head, piece: 300, read: 1024}},
		{"lines without an end", hostile{send: append([]byte("\n"), bytes.Repeat([]byte("x"), 1000)...), piece: 1001}},
		{"clients that read nothing, small buffers", hostile{buffer: 2048, send: flood, piece: 8 << 10}},
		{"clients that read nothing, big buffers", hostile{send: flood, piece: 8 << 10}},
		{"clients that pipeline without an end", hostile{send: flood, piece: 16 << 10, read: 256 << 10}},
		{"clients that read slowly", hostile{buffer: 2048, send: flood, piece: 8 << 10, read: 64}},
		{"clients that leave a few answers unread", hostile{buffer: 2048, send: flood[:120], piece: 5}},
		{"clients that acknowledge nothing", hostile{send: flood, piece: 5, withhold: true}},
		{"clients that acknowledge nothing, half-closed", hostile{send: flood[:4100], piece: 1025, withhold: true, half: true}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			n := start(t, here(), fmt.Sprintf("NOWD_TCP_MAX_CONNS=%d", conns), "NOWD_SHUTDOWN_TIMEOUT=100ms")
			run := func(_ *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
				kind.attack(n.port, conns+conns/10, stop, &y.cost)
			}
			// nowd may evict an honest client's connection like any other that asks.
			least := map[string]float64{"tcp": 0.5, "new": 0.5}
			withstand(t, n, lasting, fault{name: kind.name, run: run, least: least, memory: tcp.MaxMemory(conns, 1, 1) - tcp.BaseMemory})
			m := n.metrics(t)
			t.Logf("%.0f over the budget, %.0f evicted",
				m[`nowd_connections_closed_total{protocol="tcp",reason="over_budget"}`], m[`nowd_connections_closed_total{protocol="tcp",reason="evicted"}`])
		})
	}
}
