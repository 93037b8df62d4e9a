//go:build linux

package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An error that passes, such as a want of memory, costs nothing; after one that lasts the health endpoint is reopened.
func TestProbesAreAnsweredAfterAcceptHasFailed(t *testing.T) {
	t.Parallel()
	for _, errno := range []string{"ENOBUFS", "EMFILE", "EPERM", "EINVAL"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			n := start(t, "NOWD_TCP_LISTEN=off")
			trace := attach(t, n, "-e", "trace=accept4", "-e", "inject=accept4:error="+errno+":when=1")
			_, _, _ = n.get("/live", time.Second) // which may be the one that is lost with its listener
			eventually(t, patience, func() error {
				if b, err := os.ReadFile(trace.file); err != nil || !strings.Contains(string(b), "INJECTED") {
					return fmt.Errorf("accept has not failed: %v", err)
				}
				status, said, err := n.get("/live", time.Second)
				if status != http.StatusOK {
					return fmt.Errorf("/live is %d, %v: %s", status, err, said)
				}
				return nil
			})
			trace.detach(t)
			reopened := strings.Contains(n.stderr.String(), "a socket is gone")
			if want := errno == "EINVAL"; reopened != want {
				t.Errorf("the listener was reopened: %v, want %v", reopened, want)
			}
		})
	}
}

// TestProbesCostNoDescriptorOfClientsAndLittleMemory: 2,000 clients hold connections to the health endpoint, and as many
// as are promised to other clients are there for them.
func TestProbesCostNoDescriptorOfClientsAndLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than 10 s")
	}
	raceFree(t)
	for name, send := range map[string]string{
		"silent":            "",
		"unfinished":        "GET /live HTTP/1.1\r\nX: " + strings.Repeat("x", 7500),
		"pipelined metrics": strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 500),
	} {
		t.Run(name, func(t *testing.T) {
			const clients = 100
			n := start(t, "NOWD_TCP_MAX_CONNS="+strconv.Itoa(clients))
			for range 20 {
				_, _, _ = n.get("/metrics", patience) // so that it has what it takes at its first time
			}
			before := resident(t, n.pid())
			for range 2000 {
				conn, err := net.DialTimeout("tcp", n.health, patience)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_ = conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
				_, _ = io.WriteString(conn, send)
			}
			var held []net.Conn
			for range clients {
				held = append(held, dial(t, "tcp", n.tcp))
			}
			for _, conn := range held {
				if _, err := exchange(conn, "hello\n"); err != nil {
					t.Error(err)
				}
			}
			var longest time.Duration
			for range 20 {
				began := time.Now()
				status, said, err := n.get("/live", patience)
				if longest = max(longest, time.Since(began)); status != http.StatusOK {
					t.Errorf("/live is %d, %v: %s", status, err, said)
				}
			}
			if longest > time.Second {
				t.Errorf("/live took %v", longest)
			}
			grown := resident(t, n.pid()) - before
			t.Logf("/live took %v at the most; it has grown by %d kB", longest.Round(time.Millisecond), grown>>10)
			if grown > 8<<20 {
				t.Errorf("it has grown by %d kB", grown>>10)
			}
		})
	}
}

func raceFree(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("the race detector takes memory of its own")
	}
}
