//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client is a command that shows the time, as a user types it. nowd listens at port 3333.
type client struct {
	name    string // of the program
	program string // the executable, which nc in the command stands for
	command string
	verify  func(shown string, s span) error // nil: the default form
	status  int                              // the exit status
	hasty   bool                             // it waits so briefly that it may miss the answer on a busy host
}

var clients = []client{
	{name: "OpenBSD netcat", program: "nc.openbsd", command: "echo hi | nc -u -W1 -w2 127.0.0.1 3333"},
	{name: "OpenBSD netcat", program: "nc.openbsd", command: "echo hi | nc -u -w1 127.0.0.1 3333"},
	{name: "OpenBSD netcat", program: "nc.openbsd", command: "echo hi | nc -N 127.0.0.1 3333"},
	{name: "OpenBSD netcat", program: "nc.openbsd", command: "echo hi | nc -q0 127.0.0.1 3333"},
	{name: "OpenBSD netcat", program: "nc.openbsd", command: "nc -N 127.0.0.1 3333 </dev/null"},
	{name: "OpenBSD netcat", program: "nc.openbsd", command: "echo unix | nc -u -W1 -w2 ::1 3333", verify: inForm("unix")},
	{name: "OpenBSD netcat", program: "nc.openbsd", command: "echo rfc3339 | nc -N ::1 3333", verify: inForm("rfc3339")},

	{name: "traditional netcat", program: "nc.traditional", command: "echo hi | nc -u -q1 127.0.0.1 3333"},
	{name: "traditional netcat", program: "nc.traditional", command: "echo hi | nc -u -w1 127.0.0.1 3333"},
	{name: "traditional netcat", program: "nc.traditional", command: "echo hi | nc -q1 127.0.0.1 3333"},

	{name: "Ncat", program: "ncat", command: "(echo hi; sleep 1) | ncat -u 127.0.0.1 3333", hasty: true},
	{name: "Ncat", program: "ncat", command: "echo hi | ncat 127.0.0.1 3333"},
	{name: "Ncat", program: "ncat", command: "echo hi | ncat -6 ::1 3333"},

	{name: "BusyBox", program: "busybox", command: "echo hi | busybox nc 127.0.0.1 3333"},

	{name: "socat", program: "socat", command: "echo hi | socat -t0.2 - UDP4:127.0.0.1:3333", hasty: true},
	{name: "socat", program: "socat", command: "echo hi | socat -t0.2 - UDP6:[::1]:3333", hasty: true},
	{name: "socat", program: "socat", command: "echo hi | socat - TCP4:127.0.0.1:3333"},
	{name: "socat", program: "socat", command: "echo hi | socat - TCP6:[::1]:3333"},

	{name: "curl", program: "curl", command: "curl -s http://127.0.0.1:3333/"},
	{name: "curl", program: "curl", command: "curl -s http://[::1]:3333/"},
	{name: "curl", program: "curl", command: "curl -s http://127.0.0.1:3333/json", verify: inForm("json")},
	{name: "curl", program: "curl", command: "curl -s http://127.0.0.1:3333/unix", verify: inForm("unix")},
	{name: "curl", program: "curl", command: "curl -sI http://127.0.0.1:3333/", verify: verifyHeader},
	{name: "curl", program: "curl", command: "curl -s -w '%{http_code}' http://127.0.0.1:3333/no", verify: verifyNotFound},
	{name: "curl", program: "curl", command: "curl -sf http://127.0.0.1:3333/no", verify: verifyNothing, status: 22},
	{name: "curl", program: "curl", command: "echo hi | curl -sm1 telnet://127.0.0.1:3333", status: 28},

	{name: "bash", program: "bash", command: "exec 3<>/dev/udp/127.0.0.1/3333; echo hi >&3; head -n 1 <&3"},
	{name: "bash", program: "bash", command: "exec 3<>/dev/tcp/127.0.0.1/3333; echo hi >&3; head -n 1 <&3"},
}

// pitfalls are commands that look right and do not work. OpenBSD netcat with -u -q1 is not among them: it shows no answer on
// most hosts, but may on a busy one.
var pitfalls = []client{
	// These clients do not half-close: they wait for the server to close, which waits for their next request.
	{name: "OpenBSD netcat", program: "nc.openbsd", command: "echo hi | timeout 1 nc 127.0.0.1 3333", status: 124},
	{name: "traditional netcat", program: "nc.traditional", command: "echo hi | timeout 1 nc 127.0.0.1 3333", status: 124},
}

func TestClientsShowTheTime(t *testing.T) {
	t.Parallel()
	tried := configurations
	if testing.Short() {
		tried = tried[:1] // each takes seconds
	}
	for _, c := range tried {
		t.Run(c.name, func(t *testing.T) {
			n := start(t, append(everywhere(freePort(t)), c.env...)...)
			for _, c := range clients {
				t.Run(c.command, func(t *testing.T) {
					t.Parallel()
					c.check(t, n)
				})
			}
		})
	}
}

func TestPitfallsAreWhatIsSaidOfThem(t *testing.T) {
	t.Parallel()
	n := start(t)
	for _, c := range pitfalls {
		t.Run(c.command, func(t *testing.T) {
			t.Parallel()
			c.check(t, n)
		})
	}
}

func (c client) check(t *testing.T, n *nowd) {
	t.Helper()
	path := tool(t, c.program)
	if strings.Contains(c.command, "::1") && !haveIPv6() {
		t.Skip("no IPv6 on this host")
	}
	command := strings.ReplaceAll(c.command, "3333", portOf(n.tcp))
	var shown string
	var status int
	var s span
	for tries := 0; tries == 0 || c.hasty && shown == "" && tries < 5; tries++ {
		s = during(func() { shown, status = shell(t, path, command) })
	}
	if status != c.status {
		t.Errorf("%s: exit status %d, want %d", c.name, status, c.status)
	}
	verify := c.verify
	if verify == nil {
		verify = inForm("datetime")
	}
	if err := verify(shown, s); err != nil {
		t.Errorf("%s: %v", c.name, err)
	}
}

// shell runs a command that calls the program at a path by its name, or by nc if it is a netcat. It returns what the
// command shows and its exit status.
func shell(t *testing.T, path, command string) (shown string, status int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	sh, name := "sh", filepath.Base(path)
	switch {
	case name == "bash":
		sh = path
	case strings.HasPrefix(name, "nc."):
		name = "nc"
	}
	bin := t.TempDir()
	if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, sh, "-c", command)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// The signal goes to all processes of the shell.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", command, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s: still running after %v; shown %q", command, patience, stdout.String())
	}
	if stderr.Len() > 0 {
		t.Logf("%s: %s", command, stderr.String())
	}
	return stdout.String(), cmd.ProcessState.ExitCode()
}

func inForm(word string) func(string, span) error {
	return func(shown string, s span) error { return verify(word, shown, time.UTC, s) }
}

func verifyNothing(shown string, _ span) error {
	if shown != "" {
		return fmt.Errorf("shown %q, want nothing", shown)
	}
	return nil
}

func verifyNotFound(shown string, _ span) error {
	if body, ok := strings.CutSuffix(shown, "404"); !ok || !strings.Contains(body, "/unixns") {
		return fmt.Errorf("shown %q, want the list of paths, and status 404", shown)
	}
	return nil
}

func verifyHeader(shown string, s span) error {
	all := strings.Split(strings.TrimSuffix(shown, "\r\n\r\n"), "\r\n")
	if all[0] != "HTTP/1.1 200 OK" {
		return fmt.Errorf("shown %q, want status 200", shown)
	}
	var date string
	for _, field := range all {
		if value, ok := strings.CutPrefix(field, "Date: "); ok {
			date = value
		}
	}
	at, err := http.ParseTime(date)
	if err != nil {
		return err
	}
	return s.check(at, time.Second)
}
