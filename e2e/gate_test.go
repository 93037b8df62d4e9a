//go:build linux

package e2e_test

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestGateEndedByASignalHasFailed ends .ci/run in its first stage, in which a program hangs.
func TestGateEndedByASignalHasFailed(t *testing.T) {
	t.Parallel()
	for sig, status := range map[syscall.Signal]int{syscall.SIGTERM: 143, syscall.SIGINT: 130, syscall.SIGHUP: 129} {
		dir := t.TempDir()
		stuck, started := filepath.Join(dir, "dpkg-query"), filepath.Join(dir, "started")
		if err := os.WriteFile(stuck, []byte("#!/bin/sh\n: >"+started+"\nexec sleep 60\n"), 0o755); err != nil {
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
		// Only now: bash runs a trap after the program that it waits for, and the signal ends only a program that runs.
		eventually(t, patience, func() error { _, err := os.Stat(started); return err })
		// To the process group, as a terminal and timeout(1) do.
		if err := syscall.Kill(-cmd.Process.Pid, sig); err != nil {
			t.Error(err)
		}
		kill := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
		said, err := io.ReadAll(out)
		if err != nil {
			t.Error(err)
		}
		_ = cmd.Wait()
		kill.Stop()
		if got := cmd.ProcessState.ExitCode(); got != status || !bytes.Contains(said, []byte("=== FAILED after ")) || bytes.Contains(said, []byte("passed")) {
			t.Errorf("%v: status %d, want %d\n%s", sig, got, status, said)
		}
	}
}
