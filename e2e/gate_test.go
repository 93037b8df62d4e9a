//go:build linux

package e2e_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestGateEndedByASignalHasFailed ends .ci/run in its first stage, in which a program hangs.
func TestGateEndedByASignalHasFailed(t *testing.T) {
	t.Parallel()
	for sig, status := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130, syscall.SIGHUP: 129} {
		dir := t.TempDir()
		stuck := filepath.Join(dir, "dpkg-query")
		if err := os.WriteFile(stuck, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		// Under nohup(1) the tests ignore SIGHUP, and bash cannot trap a signal that is ignored when it starts.
		cmd := exec.Command(tool(t, "env"), "--default-signal", tool(t, "bash"), "../.ci/run")
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TMPDIR="+dir)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		nursery().start(t, cmd)
		kill := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		var said strings.Builder
		for lines := bufio.NewScanner(out); lines.Scan(); {
			said.WriteString(lines.Text() + "\n")
			if lines.Text() == "=== Debian packages" {
				// To the process group, as a terminal and timeout(1) do.
				if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil {
					t.Error(err)
				}
			}
		}
		_ = cmd.Wait()
		kill.Stop()
		if got := cmd.ProcessState.ExitCode(); got != status || !strings.Contains(said.String(), "=== FAILED after ") || strings.Contains(said.String(), "passed") {
			t.Errorf("%v: status %d, want %d\n%s", sig, got, status, said.String())
		}
	}
}
