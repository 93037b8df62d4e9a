//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// runTime returns how long the threads of a process have been on a processor:
// proc(5), /proc/pid/task/tid/schedstat. What the kernel does for a packet
// within a thread's system call counts as the thread's, whoever the packet is
// for.
func runTime(pid int) (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err == nil && len(threads) == 0 {
		err = fmt.Errorf("process %d is gone, or the kernel keeps no schedstat", pid)
	}
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) { // a thread that has just ended
			continue
		}
		if err != nil {
			return 0, err
		}
		first, _, _ := bytes.Cut(b, []byte(" "))
		ns, err := strconv.ParseInt(string(first), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", path, err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// resident returns how much of a process is in memory, in bytes. It is counted
// page by page: what /proc/pid/status has is an estimate.
func resident(pid int) (int64, error) {
	return numberIn(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Rss:", 1024)
}

// tracer returns the process that traces a thread, or 0.
func tracer(thread string) (int64, error) {
	return numberIn(filepath.Join(thread, "status"), "TracerPid:", 1)
}

// numberIn returns the number that follows a name in a file.
func numberIn(path, name string, unit int64) (int64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(b) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == name {
			n, err := strconv.ParseInt(string(f[1]), 10, 64)
			return n * unit, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, name)
}
