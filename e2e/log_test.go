//go:build linux

package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// logPipe is a pipe for standard error that holds one page.
type logPipe struct{ r, w *os.File }

func newLogPipe(t *testing.T) *logPipe {
	t.Helper()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil { // blocking, as a shell's pipes are
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, 4096); err != nil {
		t.Fatal(err)
	}
	p := &logPipe{os.NewFile(uintptr(fds[0]), "log"), os.NewFile(uintptr(fds[1]), "log")}
	t.Cleanup(func() {
		p.r.Close()
		p.w.Close()
	})
	return p
}

// fill writes until the pipe is full.
func (p *logPipe) fill(t *testing.T) {
	t.Helper()
	// Through another open file description, so that nowd's stays blocking.
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", p.w.Fd()), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for err != unix.EAGAIN {
		if _, err = unix.Write(fd, []byte("#")); err != nil && err != unix.EAGAIN && err != unix.EINTR {
			t.Fatal(err)
		}
	}
}

// launchTo is launch with this standard error.
func launchTo(t *testing.T, stderr *os.File, env ...string) *nowd {
	t.Helper()
	n, env := prepare(t, nil, env...)
	n.errors = stderr
	n.run(t, binary, env)
	return n
}

// checkOwed has a client read all answers to its pipelined requests after a signal.
func checkOwed(t *testing.T, n *nowd, stop func()) {
	t.Helper()
	const requests = 1000 // they fit into nowd's receive buffer
	p := newPipeline(t, n, requests)
	if _, err := io.WriteString(p.conn, p.rest); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(p.conn)
	if _, err := answers.Peek(1); err != nil {
		t.Fatal(err)
	}
	stop()
	p.check(t, answers, requests)
	p.conn.Close()
	if status := n.wait(t); status != 0 {
		t.Errorf("exit status %d (%v), want 0", status, n.cmd.ProcessState)
	}
}

// Go's runtime ends a process with SIGPIPE if its standard error has no reader.
func TestLogWithoutAReaderEndsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newLogPipe(t)
			n := launchTo(t, p.w, append(c.env, "NOWD_SHUTDOWN_TIMEOUT=15s")...)
			p.w.Close()
			n.awaitReady(t, http.StatusOK)
			p.r.Close()
			checkOwed(t, n, func() { n.signal(t, syscall.SIGTERM) })
		})
	}
}

func TestUnreadLogHoldsNothingUp(t *testing.T) {
	t.Parallel()
	served := func(t *testing.T, n *nowd) {
		t.Helper()
		n.awaitReady(t, http.StatusOK)
		n.checkTime(t, "udp")
		n.checkTime(t, "tcp")
	}
	for _, when := range []string{"from the start", "later"} {
		full := func(t *testing.T, env ...string) *nowd {
			p := newLogPipe(t)
			if when == "from the start" {
				p.fill(t)
			}
			// nowd logs the warnings first.
			n := launchTo(t, p.w, append(env, "NOWD_NO_SUCH_SETTING=1")...)
			served(t, n)
			if when == "later" {
				p.fill(t)
				served(t, n)
			}
			return n
		}
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			for _, c := range configurations {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					full(t, c.env...).checkEnd(t, syscall.SIGTERM, 0, 2*time.Second)
				})
			}
			t.Run("answers are owed", func(t *testing.T) {
				t.Parallel()
				n := full(t, "NOWD_SHUTDOWN_TIMEOUT=15s")
				checkOwed(t, n, func() { n.signal(t, syscall.SIGTERM) })
			})
			t.Run("second signal", func(t *testing.T) {
				t.Parallel()
				n := full(t, "NOWD_DRAIN_DELAY=1h")
				n.signal(t, syscall.SIGTERM)
				n.awaitReady(t, http.StatusServiceUnavailable)
				n.endAtOnce(t, syscall.SIGINT)
			})
		})
	}
}

var droppedLines = regexp.MustCompile(`^time=\S+ level=ERROR msg="log lines were dropped" count=(\d+)$`)

// There are more warnings than nowd buffers. The reader later gets whole lines in order, and the number of dropped lines.
func TestLogReportsItsDroppedLinesWhenItIsReadAgain(t *testing.T) {
	t.Parallel()
	const unknown = 2000
	var env []string
	for i := range unknown {
		env = append(env, fmt.Sprintf("NOWD_X%05d=1", i))
	}
	p := newLogPipe(t)
	p.fill(t)
	n := launchTo(t, p.w, env...)
	n.awaitReady(t, http.StatusOK)
	p.w.Close()
	log := bufio.NewScanner(p.r)
	warned, dropped, last := 0, 0, ""
	for dropped == 0 && log.Scan() {
		line := strings.TrimLeft(log.Text(), "#")
		if m := droppedLines.FindStringSubmatch(line); m != nil {
			dropped, _ = strconv.Atoi(m[1])
			break
		}
		if want := fmt.Sprintf(`level=WARN msg="no such setting" variable=NOWD_X%05d`, warned); !strings.HasSuffix(line, want) {
			t.Fatalf("%q, want %q", line, want)
		}
		warned++
	}
	if counted := n.metric(t, "nowd_log_lines_dropped_total"); counted < float64(dropped) || counted == 0 {
		t.Errorf("the metric counts %v dropped lines, the log reports %d", counted, dropped)
	}
	n.signal(t, syscall.SIGTERM)
	for log.Scan() {
		last = log.Text()
	}
	if err := log.Err(); err != nil {
		t.Error(err)
	}
	if status := n.wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if warned < 200 || warned+dropped < unknown || warned+dropped > unknown+20 || !strings.HasSuffix(last, "msg=stopped") {
		t.Errorf("%d warnings written, %d lines dropped; the last is %q", warned, dropped, last)
	}
}
