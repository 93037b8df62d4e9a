//go:build linux

package faults_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// TestLogReadersCostClientsNothing: the reader of nowd's log is gone, or reads nothing, and nowd logs more than the
// pipe and nowd buffer.
func TestLogReadersCostClientsNothing(t *testing.T) {
	const lines, lasting = 2000, 500 * time.Millisecond
	var unknown []string // settings; nowd logs a warning about each
	for i := range lines {
		unknown = append(unknown, fmt.Sprintf("NOWD_X%05d=1", i))
	}
	for _, what := range []string{"is gone", "reads nothing"} {
		t.Run(what, func(t *testing.T) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() }) // when nowd has ended
			cmd := exec.Command(program)
			cmd.Stderr = w
			n := startAs(t, here(), cmd, unknown...)
			w.Close()
			if what == "is gone" {
				r.Close()
			}
			run := func(_ *testing.T, _ *nowd, stop <-chan struct{}, _ *tally) { <-stop }
			withstand(t, n, lasting, fault{name: "reader of the log " + what, run: run, once: true})
			if dropped := n.metrics(t)["nowd_log_lines_dropped_total"]; dropped == 0 {
				t.Error("no line was dropped, so the test shows nothing")
			}
		})
	}
}
