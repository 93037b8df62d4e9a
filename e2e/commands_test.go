//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// result is a command's output and exit status.
type result struct {
	stdout, stderr string
	status         int
}

// run runs a command of nowd to its end, with this environment.
func run(t *testing.T, env []string, args ...string) result {
	t.Helper()
	return runProgram(t, binary, env, args...)
}

// runProgram is run, with the nowd at path.
func runProgram(t *testing.T, path string, env []string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append([]string{"TZ=UTC"}, env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("nowd %s: still running after %v\n%s%s", strings.Join(args, " "), patience, stdout.String(), stderr.String())
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

var queried = regexp.MustCompile(`^(\S+)  round trip (\S+)  offset ([+-]\d+\.\d{6})s ±(\d+\.\d{6})s  bound (?:-|±\d+\.\d{6}s) (?:un)?synced$`)

func TestQueryShowsTheTimeTheRoundTripAndTheOffset(t *testing.T) {
	t.Parallel()
	n := start(t)
	for _, network := range []string{"udp", "tcp"} {
		for _, times := range []int{1, 3} {
			args := []string{"query", "-proto", network}
			if times > 1 {
				args = append(args, "-n", fmt.Sprint(times), "-i", "10ms")
			}
			var r result
			s := during(func() { r = run(t, nil, append(args, n.at(network))...) })
			if r.status != 0 || (r.stderr != "") != (times > 1) { // with several requests it has the summary
				t.Errorf("nowd %s: exit status %d, %s", strings.Join(args, " "), r.status, r.stderr)
			}
			if got := strings.Count(r.stdout, "\n"); got != times {
				t.Errorf("nowd %s: %d lines, want %d:\n%s", strings.Join(args, " "), got, times, r.stdout)
			}
			for line := range strings.Lines(r.stdout) {
				m := queried.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
				if m == nil {
					t.Errorf("shown %q", line)
					continue
				}
				if err := verifyRFC3339(m[1], time.UTC, s); err != nil {
					t.Errorf("shown %q: %v", line, err)
				}
				trip, err := time.ParseDuration(m[2])
				if err != nil || trip <= 0 || trip > s.after.Sub(s.before) {
					t.Errorf("shown %q: round trip %v (%v)", line, trip, err)
				}
				// The client and the server have the same clock.
				offset, _ := time.ParseDuration(m[3] + "s")
				bound, _ := time.ParseDuration(m[4] + "s")
				if offset.Abs() > bound+time.Microsecond {
					t.Errorf("shown %q: the offset of this host's clock from itself", line)
				}
			}
		}
	}
}

func TestQueryAsksForAnyForm(t *testing.T) {
	t.Parallel()
	n := start(t)
	for _, network := range []string{"udp", "tcp"} {
		for _, word := range words {
			var r result
			s := during(func() { r = run(t, nil, "query", "-proto", network, "-ask", word, n.at(network)) })
			answer, _, _ := strings.Cut(r.stdout, "  round trip ")
			if err := verify(word, answer+"\n", time.UTC, s); err != nil || r.status != 0 {
				t.Errorf("%s over %s: %v, exit status %d, %s", word, network, err, r.status, r.stderr)
			}
		}
	}
}

// nowd query waits until the timeout for the end of an answer over TCP without a newline. The round trip is shorter.
func TestQueryMeasuresTheAnswerNotItsOwnPatience(t *testing.T) {
	t.Parallel()
	n := start(t, "NOWD_NEWLINE=false")
	for _, network := range []string{"udp", "tcp"} {
		const timeout = 2 * time.Second
		r := run(t, nil, "query", "-proto", network, "-timeout", timeout.String(), n.at(network))
		m := queried.FindStringSubmatch(strings.TrimSuffix(r.stdout, "\n"))
		if r.status != 0 || m == nil {
			t.Errorf("%s: exit status %d, shown %q, %s", network, r.status, r.stdout, r.stderr)
			continue
		}
		if trip, err := time.ParseDuration(m[2]); err != nil || trip > timeout/2 {
			t.Errorf("%s: shown %q: the round trip is the timeout, %v (%v)", network, r.stdout, timeout, err)
		}
	}
}

func TestQueryFailsIfNothingAnswers(t *testing.T) {
	t.Parallel()
	nobody := "127.0.0.1:" + freePort(t)
	silent := "127.0.0.1:" + freePort(t)
	take(t, "udp", silent)
	take(t, "tcp", silent)
	for _, network := range []string{"udp", "tcp"} {
		for _, addr := range []string{nobody, silent} {
			r := run(t, nil, "query", "-proto", network, "-timeout", "100ms", "-n", "2", "-i", "1ms", addr)
			if r.status != 1 || r.stdout != "" || strings.Count(r.stderr, "\n") != 3 {
				t.Errorf("%s %s: exit status %d, stdout %q, stderr %q; want 1, two errors and the sum",
					network, addr, r.status, r.stdout, r.stderr)
			}
		}
	}
}

func TestCommandsRefuseWhatTheyDoNotUnderstand(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"frobnicate", "-v", "serve now", "config all", "version 2", "healthcheck /live",
		"query -x", "query -n", "query -n=-1", "query -n=x", "query -i=-1s", "query -timeout=0s", "query -proto=sctp",
		"query -ask=sundial", "query 127.0.0.1:", "query -ask=datetime 127.0.0.1:3333 127.0.0.1:3334",
	} {
		r := run(t, nil, strings.Fields(args)...)
		if r.status != 2 || r.stdout != "" || r.stderr == "" {
			t.Errorf("nowd %s: exit status %d, stdout %q, stderr %q; want 2, and why", args, r.status, r.stdout, r.stderr)
		}
	}
}

func TestHelpIsNoMistake(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"help", "-h", "-help", "--help", "query -h"} {
		r := run(t, nil, strings.Fields(args)...)
		if r.status != 0 || !strings.Contains(strings.ToLower(r.stdout+r.stderr), "usage") {
			t.Errorf("nowd %s: exit status %d\n%s%s", args, r.status, r.stdout, r.stderr)
		}
	}
}

func TestVersionIsTheBuilds(t *testing.T) {
	t.Parallel()
	want := "nowd " + testVersion + " " + runtime.Version() + "\n"
	if r := run(t, nil, "version"); r.status != 0 || r.stdout != want {
		t.Errorf("exit status %d, %q, want %q", r.status, r.stdout, want)
	}
}

func TestHealthcheckTellsAliveFromNot(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s, which a check waits for a stopped nowd")
	}
	t.Parallel()
	n := start(t)
	env := []string{"NOWD_HEALTH_LISTEN=" + n.health, "NOWD_LIVENESS_TIMEOUT=10ms"}
	if r := run(t, env, "healthcheck"); r.status != 0 || r.stdout+r.stderr != "" {
		t.Errorf("a nowd that is alive: exit status %d, %s", r.status, r.stderr)
	}
	// With health at all addresses.
	if r := run(t, []string{"NOWD_HEALTH_LISTEN=:" + portOf(n.health)}, "healthcheck"); r.status != 0 {
		t.Errorf("at all addresses: exit status %d, %s", r.status, r.stderr)
	}
	if r := run(t, env, "healthcheck", "-ready"); r.status != 0 || r.stdout+r.stderr != "" {
		t.Errorf("a nowd that is ready: exit status %d, %s", r.status, r.stderr)
	}
	n.stop(t)
	if r := run(t, env, "healthcheck"); r.status != 1 || r.stderr == "" {
		t.Errorf("a stopped nowd: exit status %d, %s", r.status, r.stderr)
	}
	nobody := []string{"NOWD_HEALTH_LISTEN=127.0.0.1:" + freePort(t)}
	if r := run(t, nobody, "healthcheck"); r.status != 1 || r.stderr == "" {
		t.Errorf("no nowd: exit status %d, %s", r.status, r.stderr)
	}
	if r := run(t, []string{"NOWD_HEALTH_LISTEN=off"}, "healthcheck"); r.status != 1 || r.stderr == "" {
		t.Errorf("a nowd without health: exit status %d, %s", r.status, r.stderr)
	}
	sick := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, "loop 0 is silent")
	}))
	defer sick.Close()
	r := run(t, []string{"NOWD_HEALTH_LISTEN=" + sick.Listener.Addr().String()}, "healthcheck")
	if r.status != 1 || !strings.Contains(r.stderr, "loop 0 is silent") {
		t.Errorf("a nowd that returns 503: exit status %d, %s", r.status, r.stderr)
	}
}

// A start-up probe must distinguish a nowd that waits for a good clock from one that hangs.
func TestHealthcheckTellsReadyFromAlive(t *testing.T) {
	t.Parallel()
	n := launch(t, "NOWD_REQUIRE_SYNC=true", "NOWD_CLOCK_ERROR_FLOOR=1h")
	env := []string{"NOWD_HEALTH_LISTEN=" + n.health}
	eventually(t, patience, func() error {
		if r := run(t, env, "healthcheck"); r.status != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
	if r := run(t, env, "healthcheck", "-ready"); r.status != 1 || !strings.Contains(r.stderr, "clock") {
		t.Errorf("exit status %d, %s", r.status, r.stderr)
	}
	n.awaitLog(t, `reason="clock: `)
	if log := n.stderr.String(); strings.Count(log, "/ready fails") != 1 {
		t.Errorf("the log does not say exactly once what nowd waits for:\n%s", log)
	}
}

// nowd config prints the settings as a shell and nowd can read them.
func TestConfigCanBeSourced(t *testing.T) {
	t.Parallel()
	set := []string{
		"NOWD_UDP_LISTEN=[::1]:3333", "NOWD_TCP_LISTEN=:3334", "NOWD_HEALTH_LISTEN=off", "NOWD_FORMAT=rfc3339",
		"NOWD_LOOPS=auto", "NOWD_TCP_IDLE_TIMEOUT=1m30s", "NOWD_RATE_LIMIT=off",
	}
	for _, env := range [][]string{nil, set} {
		r := run(t, env, "config")
		if r.status != 0 || r.stderr != "" {
			t.Fatalf("exit status %d, %s", r.status, r.stderr)
		}
		settings := 0
		for line := range strings.Lines(r.stdout) {
			switch {
			case strings.HasPrefix(line, "# "):
			case regexp.MustCompile(`^NOWD_[A-Z_]+=\S*\n$`).MatchString(line):
				settings++
			default:
				t.Errorf("%q is neither a comment nor a setting", line)
			}
		}
		sourced := source(t, r.stdout)
		if len(sourced) != settings {
			t.Errorf("%d settings are shown, and a shell reads %d", settings, len(sourced))
		}
		for _, want := range env {
			if !slices.Contains(sourced, want) {
				t.Errorf("a shell does not read the setting %s there", want)
			}
		}
		if again := run(t, sourced, "config"); again != r {
			t.Errorf("the sourced settings give another configuration:\n%s%s", again.stdout, again.stderr)
		}
	}
}

// nowd config quotes every value that nowd accepts so that a shell reads it back.
func TestConfigCanBeSourcedWhateverIsSet(t *testing.T) {
	t.Parallel()
	for _, odd := range []string{
		"NOWD_FORMAT= unix ", "NOWD_UDP_LISTEN=$(echo nowhere):3333", "NOWD_TCP_LISTEN=a b:3333",
		"NOWD_UDP_LISTEN=a;b:3333", "NOWD_LOG_LEVEL=info ", "NOWD_LOOPS= 1",
	} {
		r := run(t, []string{odd}, "config")
		if r.status == 2 {
			continue
		}
		if sourced := source(t, r.stdout); !slices.Contains(sourced, odd) {
			t.Errorf("nowd accepts %q, but a shell does not read it back", odd)
		}
	}
}

// source returns the settings that a shell reads from config.
func source(t *testing.T, config string) (settings []string) {
	t.Helper()
	cmd := exec.Command(tool(t, "sh"), "-c", `set -a; . /dev/stdin; exec env -0`)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Stdin = strings.NewReader(config)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Errorf("sh: %v: %s", err, stderr.String())
	}
	for variable := range strings.SplitSeq(string(out), "\x00") {
		if strings.HasPrefix(variable, "NOWD_") {
			settings = append(settings, variable)
		}
	}
	return settings
}

func TestConfigTellsOfUnknownSettings(t *testing.T) {
	t.Parallel()
	r := run(t, []string{"NOWD_FOO=1"}, "config")
	if r.status != 0 || !strings.Contains(r.stderr, "NOWD_FOO") || strings.Contains(r.stdout, "NOWD_FOO") {
		t.Errorf("exit status %d, stderr %q, stdout\n%s", r.status, r.stderr, r.stdout)
	}
}

func TestInterruptedQueryTellsWhetherItWasAnswered(t *testing.T) {
	t.Parallel()
	n := start(t)
	cmd := exec.Command(binary, "query", "-n", "0", "-i", "1h", n.udp)
	var stdout transcript
	cmd.Stdout = &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	eventually(t, patience, func() error {
		if !strings.Contains(stdout.String(), "\n") {
			return errors.New("no answer is shown")
		}
		return nil
	})
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an answer and an interrupt: %v", err)
	}
}
