//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// calls counts the system calls of a process with strace -c (strace(1)). stop returns the
// count.
type calls struct {
	cmd    *exec.Cmd
	stderr strings.Builder
	path   string // of strace's table
}

// countCalls starts to count, once strace traces all threads of the process. Tracing slows
// the process down many times.
func countCalls(ctx context.Context, dir string, pid int) (*calls, error) {
	c := &calls{path: filepath.Join(dir, "strace")}
	c.cmd = command(ctx, "", "strace", "-f", "-c", "-o", c.path, "-p", strconv.Itoa(pid))
	c.cmd.Stderr = &c.stderr
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		switch ok, err := isTraced(pid); {
		case ok:
			return c, nil
		case err != nil || time.Now().After(deadline):
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
			if err == nil {
				err = errors.New("cannot attach within 5 s")
			}
			return nil, failure("strace", err, c.stderr.String())
		}
	}
}

// isTraced reports whether all threads of a process are traced.
func isTraced(pid int) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(threads) == 0 {
		return false, fmt.Errorf("process %d has exited", pid)
	}
	for _, thread := range threads {
		by, err := tracer(thread)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return false, err
		}
		if by == 0 {
			return false, nil
		}
	}
	return true, nil
}

// stop ends strace, and returns the number of system calls.
func (c *calls) stop() (uint64, error) {
	_ = c.cmd.Process.Signal(os.Interrupt)
	// strace dies of the signal, so Wait always returns an error.
	_ = c.cmd.Wait()
	b, err := os.ReadFile(c.path)
	if err != nil {
		return 0, failure("strace", err, c.stderr.String())
	}
	return sumCalls(b)
}

// sumCalls adds up the fourth column of strace's table, the calls. It does not use the
// line with the total: some versions of strace leave columns of it empty.
func sumCalls(table []byte) (sum uint64, err error) {
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) < 5 || f[len(f)-1] == "total" {
			continue
		}
		if _, err := strconv.ParseFloat(f[0], 64); err != nil {
			continue // a heading or a rule
		}
		n, err := strconv.ParseUint(f[3], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("strace: line %q: want a number of calls in column 4", line)
		}
		sum += n
	}
	if sum == 0 {
		return 0, errors.New("strace counted nothing")
	}
	return sum, nil
}
