//go:build linux

package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// An idle loop waits in the kernel, and makes no system call until there is an event.
func TestIdleLoopMakesNoSystemCall(t *testing.T) {
	t.Parallel()
	watch := 2 * time.Second
	if inCI() {
		watch = 10 * time.Second
	}
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := start(t, c.env...)
			conn := dial(t, "tcp", n.tcp)
			if _, err := exchange(conn, "hello\n"); err != nil { // now the connection is idle, not just waiting in the accept queue
				t.Fatal(err)
			}
			trace := attach(t, n)
			sockets := trace.findSockets(t, n, c.loops)
			var loops []int
			for _, fd := range sockets {
				loops = append(loops, trace.awaitWait(t, n, fd))
			}
			before := trace.read(t)
			time.Sleep(watch)
			during := trace.read(t)[len(before):]
			for _, loop := range loops {
				if calls := during.of(loop); !undisturbed(calls) {
					t.Errorf("thread %d, in which a loop waits, made system calls in %v of idleness:\n%s",
						loop, watch, strings.Join(calls, "\n"))
				}
			}
			trace.detach(t)
			answer, s := askOn(t, conn, "unixns\n")
			if err := verify("unixns", answer, time.UTC, s); err != nil {
				t.Error(err)
			}
		})
	}
}

// undisturbed reports whether a waiting thread has stayed in its wait. A SIGURG that Go's scheduler sent before the wait began
// may interrupt it, once or twice; then the thread waits again.
func undisturbed(calls []string) bool {
	interruptions := 0
	for _, call := range calls {
		switch {
		case strings.HasPrefix(call, "--- SIGURG "):
			interruptions++
		case strings.HasPrefix(call, "rt_sigreturn("):
		case strings.Contains(call, "EINTR"), strings.Contains(call, "ERESTART"): // an interrupted call and its result
		case anyWait.MatchString(call) && !strings.Contains(call, " = "):
		default:
			return false
		}
	}
	return interruptions <= 2
}

var anyWait = regexp.MustCompile(`^(epoll_p?wait2?|p?poll|p?select6?)\(`)

var receiving = regexp.MustCompile(`(?m)^\d+ +recv\w*\((\d+),`)

// findSockets finds the sockets that receive datagrams: each loop has one.
func (tr *tracer) findSockets(t *testing.T, n *nowd, want int) []int {
	t.Helper()
	found := make(map[int]bool)
	eventually(t, patience, func() error {
		n.checkTime(t, "udp") // each time from another port, which the kernel assigns to a loop by its hash
		for _, m := range receiving.FindAllSubmatch(tr.read(t), -1) {
			fd, _ := strconv.Atoi(string(m[1]))
			found[fd] = true
		}
		if len(found) != want {
			return fmt.Errorf("%d sockets receive datagrams, want %d", len(found), want)
		}
		return nil
	})
	return slices.Collect(maps.Keys(found))
}

// awaitWait waits until a thread waits for datagrams at a socket, and returns that thread. It is the loop's thread at least
// until the end of the wait.
func (tr *tracer) awaitWait(t *testing.T, n *nowd, fd int) (thread int) {
	t.Helper()
	wait := regexp.MustCompile(fmt.Sprintf(
		`^(p?poll\(.*\{fd=%[1]d, |p?select6?\(\d+, \[(\d+ )*%[1]d[ \]]|epoll_p?wait2?\(%[2]d, )`, fd, epollOf(t, n.pid(), fd)))
	eventually(t, patience, func() error {
		var others []string
		for id, call := range tr.read(t).last() {
			if wait.MatchString(call) && !strings.Contains(call, " = ") {
				thread = id
				return nil
			}
			others = append(others, call)
		}
		return fmt.Errorf("no thread waits for descriptor %d; they are in\n%s", fd, strings.Join(others, "\n"))
	})
	return thread
}

// epollOf returns the epoll instance of a process that watches a descriptor, or -1 if none does.
func epollOf(t *testing.T, pid, fd int) int {
	t.Helper()
	watches := regexp.MustCompile(fmt.Sprintf(`(?m)^tfd: +%d `, fd))
	infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range infos {
		// A descriptor closed meanwhile is not the one.
		if b, _ := os.ReadFile(info); watches.Match(b) {
			epoll, _ := strconv.Atoi(filepath.Base(info))
			return epoll
		}
	}
	return -1
}
