//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// placement says on which processors a server and its load run.
type placement struct {
	server, load string // as taskset(1) wants it; empty for all there are
	// spin is whether the load has a processor to itself. It then never sleeps,
	// so that the server neither waits for it nor spends time on waking it,
	// which with a client on another host it would not either.
	spin bool
}

// processors returns those that this process may run on.
func processors() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var cpus []int
	for cpu := range len(set) * strconv.IntSize {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// apart puts the server on one processor and the load on another, as far from
// it as can be: neighbours may be two threads of one core.
func apart(cpus []int) (placement, string) {
	_, err := exec.LookPath("taskset")
	switch first, last := cpus[0], cpus[len(cpus)-1]; {
	case len(cpus) == 1:
		return placement{}, "One processor for both the server and the load: it shows little more than which way things lie."
	case err != nil:
		return placement{spin: true}, "There is no taskset: the server and the load run wherever the scheduler has them."
	default:
		return placement{server: strconv.Itoa(first), load: strconv.Itoa(last), spin: true},
			fmt.Sprintf("The server runs on processor %d, the load on processor %d.", first, last)
	}
}

// sideBySide gives the server two processors, and the load another one if there
// is any.
func sideBySide(cpus []int) (placement, string, error) {
	_, err := exec.LookPath("taskset")
	switch {
	case len(cpus) == 1:
		return placement{}, "", errors.New("there is only one processor")
	case len(cpus) == 2:
		return placement{}, "two loops have both processors, and the load has to find its time there, too", nil
	case err != nil:
		return placement{spin: true}, "two loops run wherever the scheduler has them", nil
	default:
		return placement{server: fmt.Sprintf("%d,%d", cpus[0], cpus[1]), load: strconv.Itoa(cpus[len(cpus)-1]), spin: true},
			fmt.Sprintf("two loops have processors %d and %d; the load has one, which may not be enough for both", cpus[0], cpus[1]), nil
	}
}

// command is exec.CommandContext on some processors. What it starts does not
// outlive this process.
func command(ctx context.Context, cpus string, name string, args ...string) *exec.Cmd {
	if cpus != "" {
		// taskset becomes the program: their process is the same.
		name, args = "taskset", append([]string{"-c", cpus, name}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// failure makes of what ended a process, and what it had written by then, one
// error.
func failure(what string, err error, stderr string) error {
	if stderr = strings.TrimSpace(stderr); stderr != "" {
		return fmt.Errorf("%s: %w: %s", what, err, stderr)
	}
	return fmt.Errorf("%s: %w", what, err)
}
