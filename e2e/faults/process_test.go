//go:build linux

package faults_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The kernel's figures about a process: proc(5).

// status returns a figure of a process's status, in bytes: VmRSS, or VmHWM, its peak.
func status(t *testing.T, pid int, field string) int {
	t.Helper()
	bytes, err := memory(pid, field)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// memory is status for goroutines other than the test's.
func memory(pid int, field string) (bytes int, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			kB, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return kB << 10, err
		}
	}
	return 0, fmt.Errorf("no %s in\n%s", field, b)
}

// forgetPeak resets VmHWM to VmRSS.
func forgetPeak(t *testing.T, pid int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(fds)
}

// cpuTime returns the CPU time of a process's threads. Go's threads do not end.
func cpuTime(t *testing.T, pid int) (sum time.Duration) {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("the kernel does not report CPU times of threads (%v)", err)
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

// usage returns the share of a core that a process uses over this time.
func usage(t *testing.T, pid int, within time.Duration) float64 {
	t.Helper()
	began, before := time.Now(), cpuTime(t, pid)
	time.Sleep(within)
	return float64(cpuTime(t, pid)-before) / float64(time.Since(began))
}
