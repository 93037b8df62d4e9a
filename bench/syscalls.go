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

// calls counts the system calls of a process: strace(1), -c. Call stop to know
// how many there were.
type calls struct {
	cmd    *exec.Cmd
	stderr strings.Builder
	path   string // of the count
}

// countCalls starts to count. What is counted is many times slower meanwhile.
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
				err = errors.New("it does not attach")
			}
			return nil, failure("strace", err, c.stderr.String())
		}
	}
}

// isTraced reports whether all threads of a process are.
func isTraced(pid int) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(threads) == 0 {
		return false, fmt.Errorf("process %d is gone", pid)
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

// stop ends the count and returns it.
func (c *calls) stop() (uint64, error) {
	_ = c.cmd.Process.Signal(os.Interrupt)
	// It ends with the signal that it got, so the error says nothing.
	_ = c.cmd.Wait()
	b, err := os.ReadFile(c.path)
	if err != nil {
		return 0, failure("strace", err, c.stderr.String())
	}
	return sumCalls(b)
}

// sumCalls adds up strace's table, whose fourth column has the calls. Its last
// line, the total, has not always had all the columns before that.
func sumCalls(table []byte) (sum uint64, err error) {
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) < 5 || f[len(f)-1] == "total" {
			continue
		}
		if _, err := strconv.ParseFloat(f[0], 64); err != nil {
			continue // the head and the rules
		}
		n, err := strconv.ParseUint(f[3], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("strace: %q", line)
		}
		sum += n
	}
	if sum == 0 {
		return 0, errors.New("strace counted nothing")
	}
	return sum, nil
}
