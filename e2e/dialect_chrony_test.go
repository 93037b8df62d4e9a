//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// With nowd as its only source, chronyd takes its time, and claims no smaller error than nowd.
func TestChronydSelectsNowdAndKeepsItsBound(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	p := speak(t, ns, synced)
	c := startChronyd(t, ns, "server 127.0.0.1 iburst minpoll 0 maxpoll 0")
	eventually(t, patience, func() error {
		// chronyd's figure is from its last request. nowd's bound grows by up to 500 µs until nowd reads the
		// kernel's state again. With steady requests, as here, chronyd's figure is nearly as recent as the one
		// from bound.
		claimed, status := p.bound(t)
		if status != "synced" {
			t.Fatalf("nowd is %q", status)
		}
		tracking, err := c.ask("tracking")
		if err != nil {
			return err
		}
		sources, err := c.ask("sources")
		if err != nil {
			return err
		}
		// In the order of chronyc(1), "tracking" and "sources".
		if len(tracking) != 14 || len(sources) != 10 || sources[2] != "127.0.0.1" {
			t.Fatalf("tracking is %q and sources %q", tracking, sources)
		}
		if sources[1] != "*" || tracking[2] != "11" || tracking[13] != "Normal" {
			return fmt.Errorf("not selected: tracking is %q and sources %q", tracking, sources)
		}
		const least = 100 * time.Microsecond
		for what, field := range map[string]string{"clock": tracking[4], "last offset": tracking[5], "last sample": sources[7]} {
			if offset := inSeconds(t, field); offset.Abs() >= least {
				return fmt.Errorf("the %s is off by %v", what, offset)
			}
		}
		if dispersion := inSeconds(t, tracking[11]); dispersion < claimed {
			return fmt.Errorf("the root dispersion is %v, and nowd's bound %v", dispersion, claimed)
		}
		return nil
	})
}

func TestChronydDoesNotSelectAnUnsyncedNowd(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	p := speak(t, ns, unsynced)
	c := startChronyd(t, ns, "server 127.0.0.1 iburst minpoll 0 maxpoll 0")
	eventually(t, patience, func() error {
		if asked := p.metric(t, `nowd_requests_total{protocol="ntp"}`); asked < 4 {
			return fmt.Errorf("chronyd has asked %v times", asked)
		}
		return nil
	})
	tracking, err := c.ask("tracking")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := c.ask("sources")
	if err != nil {
		t.Fatal(err)
	}
	if sources[1] != "?" || tracking[13] != "Not synchronised" {
		t.Errorf("tracking is %q and sources %q", tracking, sources)
	}
}

// chronyd is a running chronyd, which does not set the clock.
type chronyd struct {
	ns     *namespace
	socket string // for chronyc
}

func startChronyd(t *testing.T, ns *namespace, source string) *chronyd {
	t.Helper()
	path := tool(t, "chronyd")
	tool(t, "chronyc")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil { // chronyd requires it
		t.Fatal(err)
	}
	c := &chronyd{ns, filepath.Join(dir, "socket")}
	cmd := exec.Command(path, "-d", "-x", "-u", "root",
		source, "cmdport 0", "bindcmdaddress "+c.socket, "pidfile "+filepath.Join(dir, "pid"))
	var log transcript
	cmd.Stdout, cmd.Stderr = &log, &log
	ns.start(t, cmd)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("chronyd: %v", err)
		}
		if t.Failed() {
			t.Logf("chronyd's log:\n%s", log.String())
		}
	})
	return c
}

// ask returns the fields of chronyc's output.
func (c *chronyd) ask(command string) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "chronyc", "-h", c.socket, "-c", command).Output()
	if err != nil {
		return nil, fmt.Errorf("chronyc %s: %w: %s", command, err, out)
	}
	return strings.Split(string(bytes.TrimSpace(out)), ","), nil
}

func inSeconds(t *testing.T, field string) time.Duration {
	t.Helper()
	f, err := strconv.ParseFloat(field, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(f * 1e9)
}
