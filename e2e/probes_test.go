//go:build linux

package e2e_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// After a temporary error of accept, such as lack of memory, the listener stays. After a permanent one nowd reopens the health
// endpoint.
func TestProbesAreAnsweredAfterAcceptHasFailed(t *testing.T) {
	t.Parallel()
	for _, errno := range []string{"ENOBUFS", "EMFILE", "EPERM", "EINVAL"} {
		t.Run(errno, func(t *testing.T) {
			t.Parallel()
			n := start(t, "NOWD_TCP_LISTEN=off")
			trace := attach(t, n, "-e", "trace=accept4", "-e", "inject=accept4:error="+errno+":when=1")
			_, _, _ = n.get("/live", time.Second) // this request may be lost with the listener
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
			reopened := strings.Contains(n.stderr.String(), "socket failed")
			if want := errno == "EINVAL"; reopened != want {
				t.Errorf("the listener was reopened: %v, want %v", reopened, want)
			}
		})
	}
}
