//go:build linux

package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The kernel's figures about a process: proc(5).

// status returns a field of a process's status, such as "VmRSS".
func status(t *testing.T, pid int, field string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("no %s in\n%s", field, b)
	return ""
}

// stop stops nowd until it gets SIGCONT.
func (n *nowd) stop(t *testing.T) {
	t.Helper()
	n.signal(t, syscall.SIGSTOP)
	eventually(t, patience, func() error {
		if state := status(t, n.pid(), "State"); !strings.HasPrefix(state, "T") {
			return fmt.Errorf("state %s, want T", state)
		}
		return nil
	})
}

// resident returns the resident memory of a process in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	kB, err := strconv.Atoi(strings.TrimSuffix(status(t, pid, "VmRSS"), " kB"))
	if err != nil {
		t.Fatal(err)
	}
	return kB << 10
}

// cpuTime returns the CPU time of a process's threads. It misses threads that have ended, but Go's threads do not end.
func cpuTime(t *testing.T, pid int) (sum time.Duration) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		lacking(t, fmt.Sprintf("the kernel does not report CPU times of threads (%v)", err))
	}
	for _, thread := range threads {
		b, err := os.ReadFile(thread)
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		field, _, _ := bytes.Cut(b, []byte(" "))
		ns, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}
