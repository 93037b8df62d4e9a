//go:build linux

package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tracer is an strace of all threads of a process.
type tracer struct {
	file   string
	cmd    *exec.Cmd
	stderr transcript
	exited chan struct{}
}

// attach starts strace on n, with these options.
func attach(t *testing.T, n *nowd, options ...string) *tracer {
	t.Helper()
	tr := &tracer{file: filepath.Join(t.TempDir(), "trace"), exited: make(chan struct{})}
	args := append([]string{"-f", "-p", strconv.Itoa(n.pid()), "-o", tr.file}, options...)
	tr.cmd = exec.Command(tool(t, "strace"), args...)
	tr.cmd.Stderr = &tr.stderr
	nursery().start(t, tr.cmd)
	go func() {
		_ = tr.cmd.Wait()
		close(tr.exited)
	}()
	t.Cleanup(func() { tr.detach(t) })
	eventually(t, patience, func() error {
		said := tr.stderr.String()
		if strings.Contains(said, "not permitted") || strings.Contains(said, "not implemented") {
			lacking(t, "processes may not be traced here: "+said)
		}
		if !strings.Contains(said, " attached") {
			return fmt.Errorf("strace says %q", said)
		}
		return nil
	})
	return tr
}

// detach ends the trace. More calls do nothing.
func (tr *tracer) detach(t *testing.T) {
	t.Helper()
	_ = tr.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-tr.exited:
	case <-time.After(patience):
		_ = tr.cmd.Process.Kill()
		t.Errorf("strace does not end: %s", tr.stderr.String())
	}
}

// trace is the output of strace: a line for each system call, and a second one for its result if another thread's call comes
// in between. A line starts with the thread's number.
type trace []byte

func (tr *tracer) read(t *testing.T) trace {
	t.Helper()
	b, err := os.ReadFile(tr.file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// of returns the system calls of a thread.
func (tr trace) of(thread int) (calls []string) {
	for line := range strings.Lines(string(tr)) {
		if number, call, ok := strings.Cut(line, " "); ok && number == strconv.Itoa(thread) {
			calls = append(calls, strings.TrimSpace(call))
		}
	}
	return calls
}

// last returns the last system call of each thread.
func (tr trace) last() map[int]string {
	last := make(map[int]string)
	for line := range strings.Lines(string(tr)) {
		number, call, _ := strings.Cut(line, " ")
		if thread, err := strconv.Atoi(number); err == nil {
			last[thread] = strings.TrimSpace(call)
		}
	}
	return last
}
