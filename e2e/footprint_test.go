//go:build linux

package e2e_test

import (
	"net"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// residentLimit is the limit for the resident memory of an idle nowd.
const residentLimit = 20_000_000

func TestResidentMemoryIsSmall(t *testing.T) {
	t.Parallel()
	if raceDetector {
		t.Skip("the race detector takes memory")
	}
	n := start(t)
	for range 1000 {
		n.checkTime(t, "udp")
	}
	if _, _, err := n.get("/metrics", patience); err != nil {
		t.Fatal(err)
	}
	got := resident(t, n.pid())
	t.Logf("%.1f MB", float64(got)/1e6)
	if got > residentLimit {
		t.Errorf("%d bytes are resident, want at most %d", got, residentLimit)
	}
}

func TestFirstAnswerComesSoonAfterStart(t *testing.T) {
	const limit = 100 * time.Millisecond
	best := time.Hour
	for range 5 {
		best = min(best, firstAnswer(t))
	}
	t.Logf("%v at best", best)
	if best > limit {
		t.Errorf("the first answer comes after at least %v, want at most %v", best, limit)
	}
}

// firstAnswer returns the time from a nowd's start to its first answer.
func firstAnswer(t *testing.T) time.Duration {
	t.Helper()
	addr := "127.0.0.1:" + freePort(t)
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cmd := exec.Command(binary)
	cmd.Env = []string{"NOWD_UDP_LISTEN=" + addr, "NOWD_TCP_LISTEN=off", "NOWD_HEALTH_LISTEN=127.0.0.1:" + freePort(t)}
	began := time.Now()
	nursery().start(t, cmd)
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}()
	eventually(t, patience, func() error {
		// Until nowd has opened its socket, the kernel refuses at once.
		if err := conn.SetDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, err := exchange(conn, "hello")
		return err
	})
	return time.Since(began)
}
