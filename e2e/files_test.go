//go:build linux

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// With few descriptors nowd either serves everything, or exits and says why. With fewer than eight, Go's runtime may
// fail first.
func TestTooFewOpenFilesAreReported(t *testing.T) {
	t.Parallel()
	sh := tool(t, "sh")
	for limit := 8; ; limit++ {
		n, env := prepare(t, nil)
		n.args = []string{"-c", fmt.Sprintf(`ulimit -n %d && exec "$0"`, limit), binary}
		n.run(t, sh, env)
		eventually(t, patience, func() error {
			if !n.running() {
				return nil
			}
			if _, _, err := n.get("/ready", time.Second); err != nil {
				return err
			}
			return nil
		})
		if n.running() {
			n.awaitReady(t, http.StatusOK)
			n.checkTime(t, "udp")
			n.checkTime(t, "tcp")
			return
		}
		status, said := n.wait(t), n.stderr.String()
		if status != 2 || strings.Count(said, "\n") != 1 || !strings.Contains(said, "open files") {
			t.Errorf("with %d descriptors: exit status %d (%v)\n%s", limit, status, n.cmd.ProcessState, said)
		}
		if limit > 40 {
			t.Fatal("nowd needs more than 40 descriptors")
		}
	}
}
