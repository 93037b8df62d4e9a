//go:build linux

package service

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/clock"
	"nowd/clockbound"
	"nowd/config"
)

// kernel is a clock.Kernel in a state that a test sets.
type kernel struct{ state clock.State }

func (k *kernel) State() (clock.State, error) { return k.state, nil }

// noClaim is the state of a clock without an error bound.
var noClaim = clock.State{MaxError: clock.MaxErrorLimit}

// testSegment is a segment without a loop, with a kernel that the test controls.
type testSegment struct {
	*segment
	kernel *kernel
	path   string
	log    *bytes.Buffer
}

func segmentAt(t *testing.T, path string, state clock.State) *testSegment {
	t.Helper()
	w := &testSegment{kernel: &kernel{state}, path: path, log: new(bytes.Buffer)}
	c, err := config.Load([]string{"NOWD_CLOCKBOUND=" + path, "NOWD_CLOCK_MAX_ERROR=100ms"})
	if err != nil {
		t.Fatal(err)
	}
	if w.segment, err = openSegment(c, slog.New(slog.NewTextHandler(w.log, nil))); err != nil {
		t.Fatal(err)
	}
	w.clock = clock.New(clock.Config{Kernel: w.kernel, Disrupted: w.foundDisrupted()})
	return w
}

// inMemory returns a path in a file system in memory.
func inMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "nowd")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "shm0")
}

// updated updates the segment with a state of the kernel, and returns the snapshot.
func (w *testSegment) updated(state clock.State) clockbound.Snapshot {
	w.kernel.state = state
	w.update()
	return w.written
}

// compared sets a measurement by a time server. An offset of an hour contradicts the clock.
func (w *testSegment) compared(offset time.Duration) {
	w.clock.SetMeasurement(clock.Measurement{At: w.clock.Now(), Offset: offset, Bound: time.Millisecond, Life: time.Hour})
}

func TestSegmentSaysWhatIsKnownOfTheClock(t *testing.T) {
	const ms = time.Millisecond
	w := segmentAt(t, inMemory(t), noClaim)
	for _, c := range []struct {
		what   string
		state  clock.State
		status clockbound.Status
		bound  time.Duration // at least, and at most 2 ms more
		life   time.Duration // at most, and at least 3 s less
	}{
		{"no claim", noClaim, clockbound.Unknown, noBound, 0},
		{"a good claim", clock.State{MaxError: 5 * ms}, clockbound.Synchronized, 5 * ms, time.Minute},
		{"an offset to be slewed", clock.State{MaxError: 5 * ms, Offset: -20 * ms}, clockbound.Synchronized, 25 * ms, time.Minute},
		{"soon too far off", clock.State{MaxError: 90 * ms}, clockbound.Synchronized, 90 * ms, 20 * time.Second},
		{"too far off", clock.State{MaxError: 100 * ms}, clockbound.Unknown, 100 * ms, 0},
		{"faulty", clock.State{MaxError: ms, Faulty: true}, clockbound.Unknown, ms, time.Minute},
	} {
		s := w.updated(c.state)
		life := s.VoidAfter - s.AsOf
		if s.Status != c.status || s.Bound < c.bound || s.Bound > c.bound+2*ms || life > c.life || life < c.life-3*time.Second-500*ms {
			t.Errorf("%s: %v, bound %v, valid for %v", c.what, s.Status, s.Bound, life)
		}
		if s.Marker != 0 || s.MaxDrift != 500_000 {
			t.Errorf("%s: %+v", c.what, s)
		}
	}
	w.updated(clock.State{MaxError: 5 * ms})
	w.compared(time.Hour)
	if s := w.updated(clock.State{MaxError: 5 * ms}); s.Status != clockbound.Disrupted || s.Bound < time.Hour {
		t.Errorf("contradicted: %+v", s)
	}
	w.compared(0)
	if s := w.updated(noClaim); s.Status != clockbound.Synchronized || s.Bound > 3*ms {
		t.Errorf("an upstream alone: %+v", s)
	}
}

func TestClaimOfTheSegmentIsNeverBelowThatOfBound(t *testing.T) {
	w := segmentAt(t, inMemory(t), noClaim)
	c, err := func() (*clockbound.Client, error) { w.update(); return clockbound.Open(w.path) }()
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []clock.State{{}, {MaxError: 50 * time.Microsecond}, {MaxError: 5 * time.Millisecond, Offset: time.Millisecond}} {
		w.updated(state)
		for range 100 {
			q := w.clock.Quality(w.clock.Now())
			now, err := c.Now()
			earliest, latest, ok := q.Bounds(w.clock.Now())
			if err != nil || !ok || !now.Status.Bounded() {
				t.Fatalf("%v, %v, %v", now, err, ok)
			}
			// The clock was read later for bound.
			if now.Latest.Sub(now.Earliest) < latest.Sub(earliest) || now.Earliest.After(earliest.Round(0)) {
				t.Errorf("from %v to %v, but bound says from %v to %v", now.Earliest, now.Latest, earliest, latest)
			}
		}
	}
}

func TestDisruptedUntilTheClaimIsSetAnew(t *testing.T) {
	w := segmentAt(t, inMemory(t), clock.State{MaxError: time.Millisecond})
	if s := w.updated(clock.State{MaxError: time.Millisecond}); s.Status != clockbound.Synchronized {
		t.Fatalf("%+v", s)
	}
	w.kernel.state = noClaim
	w.clock.Stepped()
	for range 2 {
		if s := w.updated(noClaim); s.Status != clockbound.Disrupted || s.Marker != 1 {
			t.Errorf("after a step: %+v", s)
		}
	}
	if s := w.updated(clock.State{MaxError: time.Millisecond}); s.Status != clockbound.Synchronized || s.Marker != 1 {
		t.Errorf("after a claim: %+v", s)
	}
	w.clock.Stepped()
	if s := w.updated(clock.State{MaxError: time.Millisecond}); s.Status != clockbound.Disrupted || s.Marker != 2 {
		t.Errorf("after a leap second: %+v", s)
	}
	w.compared(0)
	if s := w.updated(clock.State{MaxError: time.Millisecond}); s.Status != clockbound.Synchronized || s.Marker != 2 {
		t.Errorf("after a comparison: %+v", s)
	}
}

func TestNextNowdHoldsWhatItFindsUntilItHasJudged(t *testing.T) {
	path := inMemory(t)
	w := segmentAt(t, path, clock.State{MaxError: time.Millisecond})
	w.clock.Stepped()
	w.compared(0)
	before := w.updated(clock.State{MaxError: time.Millisecond})
	if before.Status != clockbound.Synchronized || before.Marker != 1 {
		t.Fatalf("%+v", before)
	}
	reader, err := clockbound.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = w.writer.Close() // killed

	w = segmentAt(t, path, noClaim)
	held := before
	held.Status = clockbound.FreeRunning
	for range 2 {
		if s := w.updated(noClaim); s != held {
			t.Errorf("%+v, want %+v", s, held)
		}
	}
	if now, err := reader.Now(); err != nil || now.Status != clockbound.FreeRunning {
		t.Errorf("a client sees %v, %v", now.Status, err)
	}
	w.compared(0)
	if s := w.updated(noClaim); s.Status != clockbound.Synchronized || s.AsOf < before.AsOf || s.Marker != 1 {
		t.Errorf("judged: %+v", s)
	}
	w.clock.SetMeasurement(clock.Measurement{})
	if s := w.updated(noClaim); s.Status != clockbound.Unknown {
		t.Errorf("after the measurement expired: %+v", s)
	}
}

func TestNextNowdHoldsNothingThatIsOver(t *testing.T) {
	for name, change := range map[string]func(s *clockbound.Snapshot, now time.Duration){
		"expired": func(s *clockbound.Snapshot, now time.Duration) { s.VoidAfter = now },
		"from the future": func(s *clockbound.Snapshot, now time.Duration) {
			s.AsOf, s.VoidAfter = now+time.Hour, now+time.Hour+time.Second
		},
		"valid for too long":     func(s *clockbound.Snapshot, now time.Duration) { s.VoidAfter = now + time.Hour },
		"of an unknown clock":    func(s *clockbound.Snapshot, now time.Duration) { s.Status = clockbound.Unknown },
		"with an invalid status": func(s *clockbound.Snapshot, now time.Duration) { s.Status = 7 },
	} {
		path := inMemory(t)
		writer, err := clockbound.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		now, err := clockbound.AsOf()
		if err != nil {
			t.Fatal(err)
		}
		s := clockbound.Snapshot{AsOf: now - 2*time.Second, VoidAfter: now + 50*time.Second, Bound: 1, MaxDrift: 500_000, Status: clockbound.Synchronized}
		change(&s, now)
		if err := errors.Join(writer.Write(s), writer.Close()); err != nil {
			t.Fatal(err)
		}
		if got := segmentAt(t, path, noClaim).updated(noClaim); got.Status != clockbound.Unknown {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestNextNowdGoesOnWithADisruption(t *testing.T) {
	path := inMemory(t)
	w := segmentAt(t, path, noClaim)
	w.clock.Stepped()
	if s := w.updated(noClaim); s.Status != clockbound.Disrupted {
		t.Fatalf("%+v", s)
	}
	_ = w.writer.Close()
	w = segmentAt(t, path, clock.State{MaxError: time.Millisecond})
	if s := w.updated(clock.State{MaxError: time.Millisecond}); s.Status != clockbound.Disrupted || s.Marker != 1 {
		t.Errorf("%+v", s)
	}
	w.compared(0)
	if s := w.updated(clock.State{MaxError: time.Millisecond}); s.Status != clockbound.Synchronized || s.Marker != 1 {
		t.Errorf("after a comparison: %+v", s)
	}
}

func TestStoppedNowdSaysFreeRunning(t *testing.T) {
	for _, c := range []struct {
		state clock.State
		want  clockbound.Status
	}{{clock.State{}, clockbound.FreeRunning}, {noClaim, clockbound.Unknown}} {
		w := segmentAt(t, inMemory(t), c.state)
		w.update()
		r, err := clockbound.Open(w.path)
		if err != nil {
			t.Fatal(err)
		}
		w.close()
		if now, err := r.Now(); err != nil || now.Status != c.want {
			t.Errorf("%v, %v; want %v", now.Status, err, c.want)
		}
		_ = segmentAt(t, w.path, c.state) // the file is not in use any more
	}
}

func TestFailureToWriteIsLoggedOnce(t *testing.T) {
	w := segmentAt(t, inMemory(t), clock.State{})
	for range 3 {
		if err := os.Truncate(w.path, 0); err != nil {
			t.Fatal(err)
		}
		w.update()
	}
	if err := os.Truncate(w.path, 80); err != nil {
		t.Fatal(err)
	}
	w.update()
	w.update()
	if log := w.log.String(); strings.Count(log, "level=ERROR") != 1 || strings.Count(log, "\n") != 2 {
		t.Error(log)
	}
}

func TestMistakeInTheSegmentIsOneOfItsSetting(t *testing.T) {
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, []byte("not a segment"), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(t.TempDir(), "none", "shm0"): fs.ErrNotExist,
		precious: clockbound.ErrNoSegment,
	} {
		c, err := config.Load([]string{"NOWD_CLOCKBOUND=" + path})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(c, "test", slog.New(slog.DiscardHandler), noDrops{}); !errors.Is(err, want) || !strings.HasPrefix(err.Error(), `NOWD_CLOCKBOUND="`+path+`": `) {
			t.Errorf("%v", err)
		}
	}
}

// TestChangeIsWrittenAtOnce: a measurement and a step reach the segment in the next turn of
// the loop, before the timer.
func TestChangeIsWrittenAtOnce(t *testing.T) {
	changesAreWritten(t, func(c *clock.Clock) { c.Stepped() })
}

// TestStepOfTheHostsClockIsWrittenAtOnce sets the host's clock to its own time, which the
// kernel reports as a step.
func TestStepOfTheHostsClockIsWrittenAtOnce(t *testing.T) {
	if os.Getenv("NOWD_SET_CLOCK") != "1" {
		t.Skip("needs NOWD_SET_CLOCK=1: it sets the clock, which every nowd on this host sees as a step")
	}
	changesAreWritten(t, func(*clock.Clock) {
		var now unix.Timespec
		if err := errors.Join(unix.ClockGettime(unix.CLOCK_REALTIME, &now), unix.ClockSettime(unix.CLOCK_REALTIME, &now)); errors.Is(err, unix.EPERM) {
			t.Skip("this user may not set the clock")
		} else if err != nil {
			t.Fatal(err)
		}
	})
}

func changesAreWritten(t *testing.T, step func(*clock.Clock)) {
	path := inMemory(t)
	s, log := started(t, "NOWD_CLOCKBOUND="+path, "NOWD_LOOPS=2")
	var r *clockbound.Client
	eventually(t, "the segment cannot be opened", func() (ok bool) {
		var err error
		r, err = clockbound.Open(path)
		return err == nil
	})
	defer r.Close()
	status := func() clockbound.Status { now, _ := r.Now(); return now.Status }
	const times = 10
	least := time.Hour
	for range times {
		eventually(t, "a measurement does not reach the segment", func() bool {
			s.clock.SetMeasurement(clock.Measurement{At: s.clock.Now(), Bound: time.Millisecond, Life: time.Hour})
			return status() == clockbound.Synchronized
		})
		began := time.Now()
		step(s.clock)
		for status() != clockbound.Disrupted {
			if time.Since(began) > 10*time.Second {
				t.Fatal("a step does not reach the segment")
			}
		}
		least = min(least, time.Since(began))
	}
	t.Logf("the fastest of %d steps took %v to reach the segment", times, least)
	if least > 10*time.Millisecond {
		t.Error("want at most 10ms")
	}
	eventually(t, "the steps are not logged", func() bool {
		return strings.Count(log.String(), `msg="the clock was stepped"`) == int(s.clock.Steps())
	})
	if n := s.clock.Steps(); n < times {
		t.Errorf("%d steps were counted", n)
	}
}
