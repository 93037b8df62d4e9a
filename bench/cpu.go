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

// runTime returns the run time of a process: the time that its threads have spent on a
// processor, from /proc/PID/task/TID/schedstat (proc(5)). It includes all that the kernel
// does within a thread's system calls, even for packets of other processes.
func runTime(pid int) (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err == nil && len(threads) == 0 {
		err = fmt.Errorf("process %d has exited, or the kernel has no schedstat", pid)
	}
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, path := range threads {
		b, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) { // the thread has just exited
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

// resident returns the resident memory of a process, in bytes. It reads smaps_rollup,
// which counts pages, because the value in /proc/PID/status is an estimate.
func resident(pid int) (int64, error) {
	return numberIn(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Rss:", 1024)
}

// tracer returns the ID of the process that traces a thread, or 0. thread is its directory
// in /proc.
func tracer(thread string) (int64, error) {
	return numberIn(filepath.Join(thread, "status"), "TracerPid:", 1)
}

// numberIn returns the number that follows name in a file of /proc, times unit.
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
