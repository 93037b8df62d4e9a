//go:build linux

package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStoppedProcessIsNotAliveUntilItGoesOn(t *testing.T) {
	t.Parallel()
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, c.env...)
			n.stop(t)
			// As the kubelet asks, whose default timeout is a second.
			if status, said, err := n.get("/live", time.Second); err == nil {
				t.Errorf("/live of a stopped process is %d: %s", status, said)
			}
			n.signal(t, syscall.SIGCONT)
			eventually(t, patience, func() error {
				status, said, err := n.get("/live", time.Second)
				if status != http.StatusOK {
					return fmt.Errorf("/live is %d, %v: %s", status, err, said)
				}
				return nil
			})
			n.checkTime(t, "udp")
			n.checkTime(t, "tcp")
		})
	}
}

// The process is alive and answers probes, but one of its loops hangs, for example in a system call that should not block.
func TestHungLoopIsNamedUntilItGoesOn(t *testing.T) {
	t.Parallel()
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			// The call occupies one of the two processors.
			n := start(t, append(c.env, "GOMAXPROCS=2", "NOWD_LIVENESS_TIMEOUT=200ms")...)
			trace := attach(t, n, "-e", "trace=recvmmsg", "-e", "inject=recvmmsg:delay_exit=3s:when=1")
			conn := dial(t, "udp", n.udp)
			if _, err := io.WriteString(conn, "hello"); err != nil {
				t.Fatal(err)
			}
			eventually(t, patience, func() error {
				status, said, err := n.get("/live", patience)
				if status != http.StatusServiceUnavailable || strings.Count(said, "loop ") != 1 {
					return fmt.Errorf("/live is %d, %v: %s; want 503 and the name of one loop", status, err, said)
				}
				return nil
			})
			// The request that waited is answered.
			if _, err := conn.Read(make([]byte, 100)); err != nil {
				t.Error(err)
			}
			trace.detach(t)
			eventually(t, patience, func() error {
				status, said, err := n.get("/live", patience)
				if status != http.StatusOK {
					return fmt.Errorf("/live is %d, %v: %s", status, err, said)
				}
				return nil
			})
		})
	}
}

func TestProbesAnswerGETAndHEADAlone(t *testing.T) {
	t.Parallel()
	n := start(t)
	for _, path := range []string{"/live", "/ready", "/metrics"} {
		for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405} {
			r, err := http.NewRequest(method, "http://"+n.health+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			got.Body.Close()
			if got.StatusCode != want {
				t.Errorf("%s %s: %s, want %d", method, path, got.Status, want)
			}
		}
	}
}

// A busy loop is alive.
func TestLoopIsAliveUnderFullLoad(t *testing.T) {
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			n := start(t, append(c.env, "NOWD_RATE_LIMIT=off")...)
			load := flood(t, n)
			var longest time.Duration
			for i := range 50 {
				var status int
				var said string
				var err error
				s := during(func() { status, said, err = n.get("/live", patience) })
				longest = max(longest, s.after.Sub(s.before))
				if status != http.StatusOK {
					t.Fatalf("%d: /live is %d, %v: %s", i, status, err, said)
				}
			}
			load.end()
			t.Logf("/live took at most %v", longest.Round(time.Millisecond))
			n.checkTime(t, "udp")
			n.checkTime(t, "tcp")
		})
	}
}

// flood keeps n busy with datagrams, without reading the answers, and with lines as fast as n answers them.
func flood(t *testing.T, n *nowd) *background {
	t.Helper()
	b := new(background)
	t.Cleanup(b.end)
	for range 3 {
		conn := dial(t, "udp", n.udp)
		b.running.Go(func() {
			for !b.stopping.Load() {
				_, _ = io.WriteString(conn, "hello")
			}
		})
	}
	for range 2 {
		conn := dial(t, "tcp", n.tcp)
		b.running.Go(func() { _, _ = io.Copy(io.Discard, conn) })
		b.running.Go(func() {
			defer conn.(*net.TCPConn).CloseWrite()
			lines := strings.Repeat("hello\n", 1000)
			for !b.stopping.Load() {
				_ = conn.SetDeadline(time.Now().Add(patience))
				if _, err := io.WriteString(conn, lines); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	return b
}
