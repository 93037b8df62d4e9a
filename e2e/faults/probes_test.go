//go:build linux

package faults_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// TestProbesCostNoDescriptorOfClientsAndLittleMemory: while 2,000 clients hold connections to the health endpoint,
// other clients get all connections of NOWD_TCP_MAX_CONNS.
func TestProbesCostNoDescriptorOfClientsAndLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than 10 s")
	}
	const places, probes = 100, 2000
	for _, kind := range []struct{ name, send string }{
		{"clients of the health endpoint, silent", ""},
		{"clients of the health endpoint, unfinished requests", "GET /live HTTP/1.1\r\nX: " + strings.Repeat("x", 7500)},
		{"clients of the health endpoint, pipelined metrics", strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 500)},
	} {
		t.Run(kind.name, func(t *testing.T) {
			n := start(t, here(), fmt.Sprintf("NOWD_TCP_MAX_CONNS=%d", places))
			run := func(t *testing.T, n *nowd, _ <-chan struct{}, y *tally) {
				// One connection is for the honest client that stays, one for the client that connects
				// again each time.
				const clients = places - 2
				for range probes {
					conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", n.health), patience)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
					sent, _ := io.WriteString(conn, kind.send)
					y.cost.connections.Add(1)
					y.cost.bytes.Add(int64(sent))
				}
				var held []net.Conn
				for range clients {
					conn, err := net.DialTimeout("tcp", n.addr(), patience)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					held = append(held, conn)
				}
				for _, conn := range held {
					_ = conn.SetDeadline(time.Now().Add(patience))
					y.owed.Add(1)
					_, err := io.WriteString(conn, "hello\n")
					if err == nil {
						_, err = conn.Read(make([]byte, 100))
					}
					if err != nil {
						y.lost.Add(1)
						t.Error(err)
					}
				}
				var longest time.Duration
				for range 20 {
					began := time.Now()
					_, err := n.get("/live", patience)
					if longest = max(longest, time.Since(began)); err != nil {
						t.Error(err)
					}
				}
				if longest > time.Second {
					t.Errorf("/live took %v", longest)
				}
				y.remark("`/live` within %v", longest.Round(time.Millisecond))
			}
			const own, withKernels = 8 << 20, 16 << 20
			for _, o := range withstand(t, n, 0, fault{name: kind.name, run: run, once: true, memory: withKernels}) {
				if grown := o.peak - o.before.resident; grown > own {
					t.Errorf("nowd has grown by %d KiB, want at most %d", grown>>10, own>>10)
				}
			}
		})
	}
}
