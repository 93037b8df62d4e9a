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
	"time"

	"golang.org/x/sys/unix"
)

// placement is the processors that a server and its load generator run on.
type placement struct {
	server, load string // lists of processors for taskset(1); empty for all
	// spin means that the load generator has a processor to itself and never sleeps. So
	// the server spends no run time on waking it. Neither would it for a client on another
	// host.
	spin bool
}

// processors returns the processors that this process may run on.
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

// apart puts the server on the first processor and the load generator on the last one,
// because neighbours may be two threads of one core. The string is a note for the report.
func apart(cpus []int) (placement, string) {
	_, err := exec.LookPath("taskset")
	switch first, last := cpus[0], cpus[len(cpus)-1]; {
	case len(cpus) == 1:
		return placement{}, "Server and load generator share the only processor: the figures are rough."
	case err != nil:
		return placement{spin: true}, "taskset is missing: the scheduler chooses the processors of server and load generator."
	default:
		return placement{server: strconv.Itoa(first), load: strconv.Itoa(last), spin: true},
			fmt.Sprintf("The server runs on processor %d, the load generator on processor %d.", first, last)
	}
}

// sideBySide gives the server two processors, and the load generator a third one if there
// is one. The string is a note for the report.
func sideBySide(cpus []int) (placement, string, error) {
	_, err := exec.LookPath("taskset")
	switch {
	case len(cpus) == 1:
		return placement{}, "", errors.New("there is only one processor")
	case len(cpus) == 2:
		return placement{}, "two loops share both processors with the load generator", nil
	case err != nil:
		return placement{spin: true}, "taskset is missing: the scheduler chooses the processors of two loops", nil
	default:
		return placement{server: fmt.Sprintf("%d,%d", cpus[0], cpus[1]), load: strconv.Itoa(cpus[len(cpus)-1]), spin: true},
			fmt.Sprintf("two loops have processors %d and %d; the load generator has one, which may be too slow for them", cpus[0], cpus[1]), nil
	}
}

// command is exec.CommandContext on the processors cpus, or on all if cpus is empty. The
// kernel kills the process when the thread that started it exits (PR_SET_PDEATHSIG of
// prctl(2)).
func command(ctx context.Context, cpus string, name string, args ...string) *exec.Cmd {
	if cpus != "" {
		// taskset executes the program in its own process.
		name, args = "taskset", append([]string{"-c", cpus, name}, args...)
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second // children of the program may keep its standard error open
	return cmd
}

// maxStderr is the maximum length of a process's output in an error, in bytes.
const maxStderr = 2000

// failure returns an error with the name of a process, its error, and the end of its
// standard error output.
func failure(what string, err error, stderr string) error {
	if len(stderr) > maxStderr {
		stderr = "…" + stderr[len(stderr)-maxStderr:]
	}
	if stderr = strings.TrimSpace(stderr); stderr != "" {
		return fmt.Errorf("%s: %w: %s", what, err, stderr)
	}
	return fmt.Errorf("%s: %w", what, err)
}
