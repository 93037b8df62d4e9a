//go:build linux

package clockbound

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestNowMakesNoSystemCall runs another process under strace(1), which reads the time.
func TestNowMakesNoSystemCall(t *testing.T) {
	if path := os.Getenv("TRACED_SEGMENT"); path != "" {
		tracedReadings(t, path)
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	w, path := created(t)
	s := recent(t)
	s.VoidAfter = s.AsOf + time.Hour
	written(t, w, s)
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "-o", trace, os.Args[0], "-test.run=^TestNowMakesNoSystemCall$")
	cmd.Env = append(os.Environ(), "TRACED_SEGMENT="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("traced process: %v\n%s", err, out)
	}
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	// On a busy machine Go's scheduler stops the goroutine, which makes system calls in
	// some rounds, but not in all.
	fewest := func(name string) (calls []string) {
		for round := range tracedRounds {
			mark := fmt.Sprint(name, round)
			if these := callsBetween(string(text), "begin "+mark, "end "+mark); round == 0 || len(these) < len(calls) {
				calls = these
			}
		}
		return calls
	}
	if calls := fewest("clock"); len(calls) > 0 {
		t.Skipf("on this machine time.Now makes system calls: %s", calls)
	}
	if calls := fewest("client"); len(calls) > 0 {
		t.Errorf("%d system calls: %s", len(calls), calls)
	}
}

const tracedRounds = 10

// tracedReadings reads the time on one thread, between system calls that mark the
// rounds in the trace.
func tracedReadings(t *testing.T, path string) {
	c := opened(t, path)
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	for round := range tracedRounds {
		between := func(name string, read func()) {
			mark := fmt.Sprint(name, round)
			_ = unix.Access("begin "+mark, 0)
			for range 100 {
				read()
			}
			_ = unix.Access("end "+mark, 0)
		}
		between("clock", func() { _ = time.Now() })
		between("client", func() {
			if _, err := c.Now(); err != nil {
				t.Error(err)
			}
		})
	}
}

var markLine = regexp.MustCompile(`(?m)^(\d+) +f?access\w*\(.*"(.*?)"`)

// callsBetween returns the system calls between two marks, of the thread that made the
// marks, without the signals of Go's scheduler.
func callsBetween(trace, from, to string) (calls []string) {
	thread := ""
	for line := range strings.Lines(trace) {
		m := markLine.FindStringSubmatch(line)
		switch {
		case m != nil && m[2] == from:
			thread = m[1]
		case m != nil && m[2] == to:
			return calls
		case thread != "" && strings.HasPrefix(line, thread+" ") && !strings.Contains(line, "SIGURG") && !strings.Contains(line, "rt_sigreturn") && !strings.Contains(line, "access"):
			calls = append(calls, line)
		}
	}
	return append(calls, "no mark "+to)
}
