//go:build linux

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/tcp"
)

// kernelConn is what the kernel's structures for a connection take besides its queues.
const kernelConn = 2 << 10

// kernelMemory returns the memory that the kernel holds for the connections at a port: their queues as ss(8) shows
// them, and their structures.
func kernelMemory(t *testing.T, ss, port string) (bytes, conns int) {
	t.Helper()
	out, err := exec.Command(ss, "-tnmH", "sport", "=", ":"+port).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range strings.Split(string(out), "skmem:(")[1:] {
		info, _, _ := strings.Cut(part, ")")
		for _, field := range strings.Split(info, ",") {
			for _, name := range []string{"r", "w", "f"} {
				if n, err := strconv.Atoi(strings.TrimPrefix(field, name)); err == nil && strings.HasPrefix(field, name) {
					bytes += n
				}
			}
		}
		conns++
	}
	return bytes + conns*kernelConn, conns
}

// hostile is a client that takes a connection and does what costs nowd most.
type hostile struct {
	buffer int    // its receive buffer
	send   []byte // what it sends, again and again
	piece  int    // how much of it at a time
	read   int    // how much it reads each time
	half   bool   // it half-closes when it has sent all, and opens another connection

	withhold bool // it acknowledges no answer
}

// onlyEmptySegments is a filter of a TCP socket that drops segments with data before TCP sees them, so that they are not
// acknowledged. It compares the segment's length with that of its header.
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

// attack lets hostile clients have n connections until ctx ends. Those that are closed are replaced.
func (h hostile) attack(ctx context.Context, port, n int) {
	fds := make([]int, n)
	sent := make([]int, n)
	for i := range fds {
		fds[i] = -1
	}
	const maxKept = 5000
	var kept []int
	defer func() {
		for _, fd := range append(fds, kept...) {
			if fd >= 0 {
				_ = unix.Close(fd)
			}
		}
	}()
	in := make([]byte, h.read+1)
	for ctx.Err() == nil {
		for i, fd := range fds {
			if fd < 0 {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					continue
				}
				if h.buffer > 0 {
					_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, h.buffer)
				}
				if h.withhold {
					_ = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(onlyEmptySegments)), Filter: &onlyEmptySegments[0]})
				}
				_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
				_ = unix.SetNonblock(fd, true)
				_ = unix.Connect(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}})
				fds[i], sent[i] = fd, 0
				continue
			}
			at := sent[i] % len(h.send)
			m, err := unix.Write(fd, h.send[at:min(len(h.send), at+h.piece)])
			sent[i] += max(0, m)
			gone := err != nil && err != unix.EAGAIN && err != unix.ENOTCONN
			if h.half && sent[i] >= len(h.send) && len(kept) < maxKept {
				_ = unix.Shutdown(fd, unix.SHUT_WR)
				kept = append(kept, fd) // closed, it would reset the connection
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

// askOnce asks for the time over a connection of its own.
func askOnce(addr string) error {
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, "unix\n"); err != nil {
		return err
	}
	_, err = bufio.NewReader(c).ReadString('\n')
	return err
}

// TestMemoryStaysBelowItsFigure: all connections are hostile, of one kind after the other. What nowd has in memory
// beyond what it has while idle, and what the kernel holds for its connections, stays below what tcp.MaxMemory says,
// and an honest client is answered.
func TestMemoryStaysBelowItsFigure(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	if raceDetector {
		t.Skip("the race detector takes memory of its own")
	}
	ss := tool(t, "ss")
	const conns = 2000
	head := append([]byte("GET / HTTP/1.1\r\nX: "), bytes.Repeat([]byte("x"), 1<<20)...)
	flood := bytes.Repeat([]byte("json\n"), 4000)
	for name, h := range map[string]hostile{
		"unfinished heads":     {send: head[:8100], piece: 8100},
		"growing heads":        {send: head, piece: 300, read: 1024},
		"long lines":           {send: append([]byte("\n"), bytes.Repeat([]byte("x"), 1000)...), piece: 1001},
		"non-readers":          {buffer: 2048, send: flood, piece: 8 << 10},
		"non-readers, big":     {send: flood, piece: 8 << 10},
		"pipeliners":           {send: flood, piece: 16 << 10, read: 256 << 10},
		"slow readers":         {buffer: 2048, send: flood, piece: 8 << 10, read: 64},
		"a little is not read": {buffer: 2048, send: flood[:120], piece: 5},
		"not acknowledged":     {send: flood, piece: 5, withhold: true},
		"half-closed":          {send: flood[:4100], piece: 1025, withhold: true, half: true},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, fmt.Sprintf("NOWD_TCP_MAX_CONNS=%d", conns), "NOWD_SHUTDOWN_TIMEOUT=100ms")
			n.checkTime(t, "tcp")
			idle := resident(t, n.pid())
			limit := tcp.MaxMemory(conns, 1, 1) - tcp.BaseMemory
			port, err := strconv.Atoi(portOf(n.tcp))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			var attacking sync.WaitGroup
			attacking.Go(func() { h.attack(ctx, port, conns+conns/10) })
			most, mostConns, mostKernel := 0, 0, 0
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				kernel, open := kernelMemory(t, ss, portOf(n.tcp))
				grown := resident(t, n.pid()) - idle + kernel
				most, mostConns, mostKernel = max(most, grown), max(mostConns, open), max(mostKernel, kernel)
				if grown > limit {
					t.Errorf("%d bytes more than idle, of which the kernel has %d for %d connections; want %d at most", grown, kernel, open, limit)
				}
			}
			// Where everybody asks without end it may be refused: then it asks again.
			eventually(t, 4*patience, func() error { return askOnce(n.tcp) })
			cancel()
			attacking.Wait()
			t.Logf("%d bytes more than idle (%d) at most, the kernel's %d, of %d; %d connections, %.0f over the budget, %.0f evicted", most, idle, mostKernel, limit, mostConns,
				n.metric(t, `nowd_connections_closed_total{protocol="tcp",reason="over_budget"}`), n.metric(t, `nowd_connections_closed_total{protocol="tcp",reason="evicted"}`))
		})
	}
}
