//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The clocks of test machines are rarely synchronised, and not wrong. So these tests start a nowd of a second build, to which
// they give the state of its clock.

// fakeBinary returns the path of that nowd, in the folder of the other one.
var fakeBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "nowd-fakeclock")
	cmd := build(path)
	cmd.Args = slices.Insert(cmd.Args, 2, "-tags", "fakeclock")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})

// kernel is the state of the clock that the fake kernel reports.
type kernel struct {
	MaxError time.Duration `json:"max_error_ns"`
	Leap     int           `json:"leap"`
	TAI      int           `json:"tai_offset_s"`
	Shift    time.Duration `json:"shift_ns"` // the clock's error, whatever the kernel reports
}

var (
	synced   = kernel{MaxError: 5 * time.Millisecond, TAI: 37}
	unsynced = kernel{MaxError: 16 * time.Second}
)

// polyglot is a nowd that speaks every dialect.
type polyglot struct {
	*nowd
	daytime, time, ntp string // addresses to ask it at
}

// speak starts a polyglot at ports of its own, or at the standard ports in a namespace that is not nil. It waits until the
// polyglot answers, whether or not its clock is trusted.
func speak(t *testing.T, ns *namespace, k kernel, env ...string) *polyglot {
	t.Helper()
	path, err := fakeBinary()
	if err != nil {
		t.Fatal(err)
	}
	state, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	at := func(port string) string {
		if ns == nil {
			port = freePort(t)
		}
		return "127.0.0.1:" + port
	}
	text := at("3333")
	p := &polyglot{
		nowd:    &nowd{udp: text, tcp: text, health: at("8086"), ns: ns},
		daytime: at("13"), time: at("37"), ntp: at("123"),
	}
	p.run(t, path, append([]string{
		"TZ=UTC",
		"GORACE=atexit_sleep_ms=0",
		"FAKE_CLOCK=" + string(state),
		"NOWD_UDP_LISTEN=" + p.udp,
		"NOWD_TCP_LISTEN=" + p.tcp,
		"NOWD_HEALTH_LISTEN=" + p.health,
		"NOWD_DAYTIME_LISTEN=" + p.daytime,
		"NOWD_TIME_LISTEN=" + p.time,
		"NOWD_NTP_LISTEN=" + p.ntp,
	}, env...))
	p.awaitListening(t)
	return p
}

// awaitListening waits until every check of /ready but the clock's passes.
func (p *polyglot) awaitListening(t *testing.T) {
	t.Helper()
	eventually(t, patience, func() error {
		if !p.running() {
			t.Fatalf("nowd ended: %v", p.cmd.ProcessState)
		}
		checks, err := p.checks()
		for name, said := range checks {
			if name != "clock" && said != "OK" {
				err = fmt.Errorf("%s: %s", name, said)
			}
		}
		return err
	})
}

// checks returns the results of /ready by check.
func (p *polyglot) checks() (map[string]string, error) {
	_, body, err := p.get("/ready", time.Second)
	if err != nil {
		return nil, err
	}
	var all map[string]string
	return all, json.Unmarshal([]byte(body), &all)
}

// checkReady checks whether /ready succeeds.
func (p *polyglot) checkReady(t *testing.T, want bool) {
	t.Helper()
	status, body, err := p.get("/ready", patience)
	if err != nil || (status == http.StatusOK) != want {
		t.Errorf("/ready is %d (%v), want ready %t: %s", status, err, want, body)
	}
}

// bound asks for the clock's error bound and status with the word bound.
func (p *polyglot) bound(t *testing.T) (off time.Duration, status string) {
	t.Helper()
	var answer string
	ask := func() { answer, _ = ask(t, "udp", p.udp, "bound") }
	if p.ns == nil {
		ask()
	} else {
		p.ns.do(ask)
	}
	m := bound.FindStringSubmatch(strings.TrimSuffix(answer, "\n"))
	if m == nil {
		return 0, strings.TrimSuffix(strings.TrimPrefix(answer, "- - "), "\n")
	}
	var at [2]time.Duration
	for i := range at {
		sec, _ := strconv.Atoi(m[1+2*i])
		ns, _ := strconv.Atoi(m[2+2*i])
		at[i] = time.Duration(sec)*time.Second + time.Duration(ns)
	}
	return (at[1] - at[0]) / 2, m[5]
}

// runIn runs a shell command in a network namespace, to its end.
func runIn(t *testing.T, ns *namespace, command, stdin string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "exec "+command)
	cmd.Env = append(cmd.Environ(), "TZ=UTC", "LC_ALL=C")
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ns.start(t, cmd)
	err := cmd.Wait()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", command, err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s: still running after %v\n%s%s", command, patience, stdout.String(), stderr.String())
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}
