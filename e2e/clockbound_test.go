//go:build linux

package e2e_test

import (
	native "encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/clockbound"
)

// sharing is a nowd that shares a fake clock through a segment, and a client of the segment.
type sharing struct {
	*polyglot
	*clockbound.Client
	path   string
	events *os.File // new states of the clock
}

func share(t *testing.T, k kernel, env ...string) *sharing {
	t.Helper()
	s := &sharing{path: segmentPath(t)}
	pipe := filepath.Join(t.TempDir(), "events")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.events, err = os.OpenFile(pipe, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.events.Close() })
	s.polyglot = speak(t, nil, k, append(env, "NOWD_CLOCKBOUND="+s.path, "FAKE_CLOCK_EVENTS="+pipe)...)
	if s.Client, err = clockbound.Open(s.path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Client.Close() })
	return s
}

// segmentPath returns a path in a file system in memory.
func segmentPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "nowd-e2e-")
	if err != nil {
		lacking(t, err.Error())
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "shm0")
}

// becomes changes the clock's state; if stepped, it announces a step.
func (s *sharing) becomes(t *testing.T, k kernel, stepped bool) {
	t.Helper()
	event, err := json.Marshal(struct {
		kernel
		Stepped bool `json:"stepped"`
	}{k, stepped})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.events.Write(event); err != nil {
		t.Fatal(err)
	}
}

// await waits until the segment has this status.
func (s *sharing) await(t *testing.T, want clockbound.Status) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		now, err := s.Now()
		if err == nil && now.Status == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v (%v) after %v, want %v", now.Status, err, patience, want)
		}
	}
}

// marker returns the segment's disruption marker.
func marker(t *testing.T, path string) uint64 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || len(b) < 80 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	return native.NativeEndian.Uint64(b[56:])
}

func TestStepIsSeenInTheSegmentAtOnce(t *testing.T) {
	t.Parallel()
	s := share(t, synced)
	s.await(t, clockbound.Synchronized)
	least := time.Hour
	for n := range uint64(5) {
		jumped := unsynced // the kernel does so when the time is set
		jumped.Shift = time.Duration(n+1) * time.Second
		began := time.Now()
		s.becomes(t, jumped, true)
		s.await(t, clockbound.Disrupted)
		least = min(least, time.Since(began))
		if got := marker(t, s.path); got != n+1 {
			t.Errorf("marker %d after %d steps", got, n+1)
		}
		again := synced // as a daemon sets it
		again.Shift = jumped.Shift
		s.becomes(t, again, false)
		s.await(t, clockbound.Synchronized)
		if got := marker(t, s.path); got != n+1 {
			t.Errorf("marker %d after the recovery from step %d", got, n+1)
		}
	}
	t.Logf("seen after at least %v", least)
	if least > 10*time.Millisecond {
		t.Error("nowd notices too late")
	}
	s.becomes(t, synced, true) // the kernel's claim stays, as at a leap second
	s.await(t, clockbound.Disrupted)
	if n := s.metric(t, "nowd_clock_steps_total"); n != 6 {
		t.Errorf("%v steps in the metrics, want 6", n)
	}
	if _, body, err := s.get("/status", patience); err != nil || !strings.Contains(body, `"steps":6,`) {
		t.Errorf("/status: %v, %s", err, body)
	}
	if log := s.stderr.String(); strings.Count(log, `msg="the clock was stepped"`) != 6 || !strings.Contains(log, " by=1.0") && !strings.Contains(log, " by=1s ") && !strings.Contains(log, " by=999.9") {
		t.Errorf("the log says\n%s", log)
	}
}

// TestStepOfTheHostsClockIsSeenAtOnce sets the clock to the time that it shows.
func TestStepOfTheHostsClockIsSeenAtOnce(t *testing.T) {
	if os.Getenv("NOWD_SET_CLOCK") != "1" {
		t.Skip("with NOWD_SET_CLOCK=1 this sets the clock, which every nowd on this host notices")
	}
	path := segmentPath(t)
	n := start(t, "NOWD_CLOCKBOUND="+path)
	least := time.Hour
	for i := range 5 {
		before := marker(t, path)
		var now unix.Timespec
		if err := errors.Join(unix.ClockGettime(unix.CLOCK_REALTIME, &now), unix.ClockSettime(unix.CLOCK_REALTIME, &now)); errors.Is(err, unix.EPERM) {
			t.Skip("this user may not set the clock")
		} else if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		eventually(t, patience, func() error {
			if marker(t, path) == before {
				return errors.New("the marker is the same")
			}
			return nil
		})
		_, body, err := n.get("/status", patience)
		least = min(least, time.Since(began))
		if err != nil || !strings.Contains(body, fmt.Sprintf(`"steps":%d,`, i+1)) {
			t.Errorf("/status: %v, %s", err, body)
		}
	}
	t.Logf("seen after at least %v, with /status", least)
	if least > 10*time.Millisecond {
		t.Error("nowd notices too late")
	}
}

// TestSegmentOutlivesNowd: one client reads the same file before a nowd is killed, while it is away, and after its restart.
func TestSegmentOutlivesNowd(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("clients believe a status for 5 s")
	}
	s := share(t, synced)
	s.await(t, clockbound.Synchronized)
	before, err := os.Stat(s.path)
	if err != nil {
		t.Fatal(err)
	}
	s.signal(t, syscall.SIGKILL)
	if status := s.wait(t); status != -1 {
		t.Errorf("exit status %d", status)
	}
	bounded := func() clockbound.Interval {
		t.Helper()
		now, err := s.Now()
		if width := now.Latest.Sub(now.Earliest); err != nil || !now.Status.Bounded() || width < 2*synced.MaxError || width > 40*time.Millisecond {
			t.Fatalf("%+v, %v", now, err)
		}
		return now
	}
	if now := bounded(); now.Status != clockbound.Synchronized {
		t.Errorf("just killed: %v", now.Status)
	}
	eventually(t, patience, func() error {
		if now := bounded(); now.Status != clockbound.FreeRunning {
			return errors.New("not free running")
		}
		return nil
	})
	again := speak(t, nil, synced, "NOWD_CLOCKBOUND="+s.path)
	s.await(t, clockbound.Synchronized)
	after, err := os.Stat(s.path)
	if err != nil || !os.SameFile(before, after) || after.Mode() != 0o644 {
		t.Errorf("%v, %v; it was %v", after.Mode(), err, before.Mode())
	}
	again.signal(t, syscall.SIGTERM)
	if status := again.wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if now := bounded(); now.Status != clockbound.FreeRunning {
		t.Errorf("stopped: %v", now.Status)
	}
}

// TestSegmentIsHeldUntilTheClockIsJudged: a restarted nowd leaves the segment as it is until it knows the clock's state.
func TestSegmentIsHeldUntilTheClockIsJudged(t *testing.T) {
	t.Parallel()
	s := share(t, synced)
	s.await(t, clockbound.Synchronized)
	s.signal(t, syscall.SIGKILL)
	s.wait(t)
	s.events.Close()
	again := speak(t, nil, unsynced, "NOWD_CLOCKBOUND="+s.path)
	s.await(t, clockbound.FreeRunning)
	again.signal(t, syscall.SIGKILL)
	again.wait(t)
}

func TestBoundAndSegmentAgree(t *testing.T) {
	t.Parallel()
	s := share(t, synced)
	s.await(t, clockbound.Synchronized)
	for range 20 {
		off, status := s.bound(t)
		now, err := s.Now()
		if shared := now.Latest.Sub(now.Earliest) / 2; err != nil || status != "synced" || shared < off || shared > off+3*time.Millisecond {
			t.Errorf("bound says ±%v %s, the segment ±%v %v, %v", off, status, shared, now.Status, err)
		}
	}
}

func TestMistakeInTheSegmentEndsTheStart(t *testing.T) {
	t.Parallel()
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, []byte("not a segment"), 0o600); err != nil {
		t.Fatal(err)
	}
	taken := share(t, synced)
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "none", "shm0"): "no such file or directory",
		precious:   "not a ClockBound segment",
		taken.path: "another process writes",
	} {
		r := run(t, []string{"NOWD_CLOCKBOUND=" + path}, "serve")
		if r.status != 2 || !strings.HasPrefix(r.stderr, `NOWD_CLOCKBOUND="`+path+`": `) || !strings.Contains(r.stderr, want) || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("exit status %d, %s", r.status, r.stderr)
		}
	}
	if b, err := os.ReadFile(precious); err != nil || string(b) != "not a segment" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestSharingTheClockCostsNextToNothing: less than 0.1 % of a core without traffic.
func TestSharingTheClockCostsNextToNothing(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes 10 s or more")
	}
	if raceDetector {
		t.Skip("the race detector takes more CPU time than the sharing")
	}
	n := start(t, "NOWD_CLOCKBOUND="+segmentPath(t))
	const watch = 10 * time.Second
	least := 1.0
	for range 3 { // another process may have evicted the caches for long
		before := cpuTime(t, n.pid())
		began := time.Now()
		time.Sleep(watch)
		share := float64(cpuTime(t, n.pid())-before) / float64(time.Since(began))
		if least = min(least, share); least < 0.001 {
			break
		}
	}
	t.Logf("%.4f %% of a core", 100*least)
	if least >= 0.001 {
		t.Error("want less than 0.1 % of a core")
	}
}

func TestWaitEndsWhenTheClockIsTrusted(t *testing.T) {
	t.Parallel()
	fake, err := fakeBinary()
	if err != nil {
		t.Fatal(err)
	}
	s := share(t, synced)
	state := func(k kernel) string {
		b, err := json.Marshal(k)
		if err != nil {
			t.Fatal(err)
		}
		return "FAKE_CLOCK=" + string(b)
	}
	for _, c := range []struct {
		env    string
		args   []string
		status int
		says   string
	}{
		{state(synced), nil, 0, "its error is at most 5."},
		{state(synced), []string{"-max-error", "1ms", "-timeout", "100ms"}, 1, "timed out after 100ms: the error bound of the clock is"},
		{state(unsynced), []string{"-timeout", "100ms"}, 1, "timed out after 100ms: the clock is not synchronised"},
		{state(unsynced), []string{"-timeout", "15s", "-clockbound", s.path}, 0, "its error is at most 6."},
		{state(synced), []string{"-timeout", "100ms", "-clockbound", s.path, "-max-error", "1ms"}, 1, s.path + ": the error bound of the clock is"},
		{"NOWD_UPSTREAM=" + s.ntp, nil, 0, "its error is at most"},
		{"NOWD_UPSTREAM=127.0.0.1:1", []string{"-timeout", "100ms"}, 1, "not been compared"},
		{"NOWD_LOOPS=none", nil, 2, "NOWD_LOOPS"},
	} {
		r := runProgram(t, fake, []string{c.env}, append([]string{"wait"}, c.args...)...)
		said := r.stdout + r.stderr
		results := strings.Count(said, "\n") - strings.Count(said, "waiting: ") // a wait of more than a second says why
		if r.status != c.status || !strings.Contains(said, c.says) || results != 1 {
			t.Errorf("%s %q: exit status %d, %s", c.env, c.args, r.status, said)
		}
	}
}

// TestFirstUpdateComesBeforeTheService: when nowd answers over the network, the segment is valid.
func TestFirstUpdateComesBeforeTheService(t *testing.T) {
	t.Parallel()
	path := segmentPath(t)
	n := launch(t, "NOWD_CLOCKBOUND="+path)
	n.awaitReady(t, http.StatusOK)
	if _, err := clockbound.Open(path); err != nil {
		t.Error(err)
	}
}
