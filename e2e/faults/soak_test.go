//go:build linux

package faults_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"
)

// soakTime returns the time for which all faults run at once.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	value := os.Getenv("NOWD_SOAK")
	if value == "" {
		return 20 * time.Second
	}
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		t.Fatalf("NOWD_SOAK=%s: want a duration", value)
	}
	return d
}

// All faults at once, except the lack of descriptors, which would leave no connections for the others. Together they
// overload the machine. So the test does not judge delays, but that nothing is lost, and that nowd is the same after as
// before.
func TestSoakLeavesNothingBehind(t *testing.T) {
	if testing.Short() {
		t.Skip("takes more than 20 s")
	}
	d := soakTime(t)
	all := slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.name == "UDP flood, no limit" || f.name == "none" })
	all = append(all, spoofedFlood(t), lossyCable(t))
	for i := range all {
		all[i].run = inTurns(all[i].run)
		all[i].alike = false
	}
	byLine := start(t, here(), "NOWD_TCP_FRAMING=line")
	n := start(t, here())
	all = append(all, fault{overload: true, run: func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
		seed := rand.Uint64()
		t.Logf("seed of the sessions: %d", seed)
		runSessions(t, byLine, n, seed, math.MaxInt64, stop, y)
	}})
	pid := n.pid()
	examine(t, n, fmt.Sprintf("all at once for %v", d), d, all...)
	if !n.running() || n.pid() != pid {
		t.Error("nowd has restarted")
	}
	eventually(t, patience, func() error {
		if used := usage(t, pid, time.Second); used > maxIdle {
			return fmt.Errorf("idle, nowd uses %.1f %% of a core", 100*used)
		}
		return nil
	})
}

// inTurns switches a fault on and off, each for up to a second, because a soak should have changes.
func inTurns(run func(*testing.T, *nowd, <-chan struct{}, *tally)) func(*testing.T, *nowd, <-chan struct{}, *tally) {
	return func(t *testing.T, n *nowd, stop <-chan struct{}, y *tally) {
		each(1, stop, func(int) {
			over := make(chan struct{})
			time.AfterFunc(time.Duration(rand.Int64N(int64(time.Second))), func() { close(over) })
			run(t, n, over, y)
			select {
			case <-stop:
			case <-time.After(time.Duration(rand.Int64N(int64(time.Second)))):
			}
		})
	}
}
