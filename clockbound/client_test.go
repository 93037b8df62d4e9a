//go:build linux

package clockbound

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestNowContainsTheTimeOfTheClock(t *testing.T) {
	w, path := created(t)
	written(t, w, recent(t))
	c := opened(t, path)
	before := time.Now().Round(0)
	now, err := c.Now()
	after := time.Now().Round(0)
	if err != nil || now.Status != Synchronized {
		t.Fatalf("Now: %+v, %v; want synchronized", now, err)
	}
	if now.Earliest.After(after.Add(-time.Millisecond)) || now.Latest.Before(before.Add(time.Millisecond)) {
		t.Errorf("from %v to %v, though the clock showed %v to %v", now.Earliest, now.Latest, before, after)
	}
	if now.Earliest != now.Earliest.Round(0) || now.Latest != now.Latest.Round(0) {
		t.Error("the times have monotonic clock readings, which comparisons would use instead of the wall clock")
	}
}

func TestOpenReturnsTheErrorOfABadFile(t *testing.T) {
	whole := func(change func(*segment)) []byte {
		s := segment{magic: magic, size: segmentSize, version: version2, generation: 2}
		change(&s)
		bytes := (*[segmentSize]byte)(unsafe.Pointer(&s))
		return bytes[:]
	}
	text := make([]byte, 4096)
	copy(text, "not a segment at all")
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"empty":                   {nil, ErrTooShort},
		"truncated":               {whole(func(*segment) {})[:79], ErrTooShort},
		"truncated in the header": {whole(func(*segment) {})[:10], ErrTooShort},
		"size field too large":    {whole(func(s *segment) { s.size = 81 }), ErrTooShort},
		"size field too small":    {whole(func(s *segment) { s.size = 79 }), ErrTooShort},
		"a text":                  {text, ErrNoSegment},
		"a short text":            {text[:12], ErrNoSegment},
		"version 1":               {whole(func(s *segment) { s.version = 1 }), ErrVersion},
		"version 3":               {whole(func(s *segment) { s.version = 3 }), ErrVersion},
		"zeros":                   {make([]byte, 80), ErrNotWritten},
		"without a version":       {whole(func(s *segment) { s.version = 0 }), ErrNotWritten},
		"without an update":       {whole(func(s *segment) { s.generation = 0 }), ErrNotWritten},
		"good":                    {whole(func(*segment) {}), nil},
		"good, and longer":        {append(whole(func(s *segment) { s.size = 96 }), make([]byte, 100)...), nil},
	} {
		path := filepath.Join(t.TempDir(), "shm0")
		if err := os.WriteFile(path, c.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "shm0")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v, want ErrNotExist", err)
	}
	if _, err := Open(t.TempDir()); !errors.Is(err, ErrNoSegment) {
		t.Errorf("a directory: %v, want ErrNoSegment", err)
	}
}

func TestOpenDoesNotWaitForTheWriterOfAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shm0")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		_, err := Open(path)
		opened <- err
	}()
	select {
	case err := <-opened:
		if !errors.Is(err, ErrNoSegment) {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Open still waits after 10 s")
	}
}

func TestVersionIsCheckedAtEachReading(t *testing.T) {
	w, path := created(t)
	written(t, w, recent(t))
	c := opened(t, path)
	h := w.mapped.memory.header()
	h.version = 3
	w.mapped.memory[headerWord].Store(h.words()[headerWord])
	if now, err := c.Now(); !errors.Is(err, ErrVersion) || now != anyTime(Unknown) {
		t.Errorf("Now: %+v, %v; want ErrVersion and all of time", now, err)
	}
}

// begun returns a client that has seen a snapshot. Its writer has died during the
// next update.
func begun(t *testing.T, s Snapshot) *Client {
	w, path := created(t)
	written(t, w, s)
	c := opened(t, path)
	if _, err := c.Now(); err != nil {
		t.Fatal(err)
	}
	h := w.mapped.memory.header()
	h.generation++
	w.mapped.memory[headerWord].Store(h.words()[headerWord])
	for i := headerWord + 1; i < numWords-3; i++ {
		w.mapped.memory[i].Store(0x5555555555555555)
	}
	return c
}

func TestLastWholeSnapshotIsUsedWhenTheWriterDiesInAnUpdate(t *testing.T) {
	c := begun(t, recent(t))
	if now, err := c.Now(); err != nil || now.Status != Synchronized || now.Latest.Sub(now.Earliest) > 3*time.Millisecond {
		t.Errorf("Now: %+v, %v; want the last whole snapshot", now, err)
	}
	if n := testing.AllocsPerRun(1000, func() { _, _ = c.Now() }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	short := recent(t)
	short.VoidAfter = short.AsOf + 50*time.Millisecond
	c = begun(t, short)
	within(t, 10*time.Second, func() string {
		if _, err := c.Now(); !errors.Is(err, ErrExpired) {
			return "not expired"
		}
		return ""
	})
}

func TestUpdateThatWasNeverCompletedIsAnError(t *testing.T) {
	w, path := created(t)
	written(t, w, recent(t))
	h := w.mapped.memory.header()
	h.generation++
	w.mapped.memory[headerWord].Store(h.words()[headerWord])
	c := opened(t, path)
	if now, err := c.Now(); !errors.Is(err, ErrNotWritten) || now != anyTime(Unknown) {
		t.Errorf("Now: %+v, %v; want ErrNotWritten and all of time", now, err)
	}
	written(t, w, recent(t))
	if now, err := c.Now(); err != nil || now.Status != Synchronized {
		t.Errorf("Now after an update: %+v, %v; want synchronized", now, err)
	}
}

func TestLastWholeSnapshotIsTheNewest(t *testing.T) {
	var l lastWhole
	var s segment
	if l.load(&s) {
		t.Error("a segment was loaded before any was kept")
	}
	for _, c := range []struct{ keep, want uint16 }{{10, 10}, {14, 14}, {12, 14}, {14, 14}, {65534, 14}, {16, 16}, {32766, 32766}, {65532, 65532}, {2, 2}, {65534, 2}} {
		l.keep(&segment{generation: c.keep, marker: uint64(c.keep)})
		if !l.load(&s) || s.marker != uint64(c.want) {
			t.Errorf("kept generation %d: loaded %d, want %d", c.keep, s.marker, c.want)
		}
	}
}

// TestMonotonicClockNeverSeemsEarlier: so a snapshot never seems younger than it is,
// and its bound holds.
func TestMonotonicClockNeverSeemsEarlier(t *testing.T) {
	c, err := newMonotonicClock()
	if err != nil {
		t.Fatal(err)
	}
	least := time.Hour
	for range 10_000 {
		before, err := read(unix.CLOCK_MONOTONIC)
		if err != nil {
			t.Fatal(err)
		}
		now := c.at(time.Now())
		if now < before {
			t.Fatalf("the clock reads %v after CLOCK_MONOTONIC read %v", now, before)
		}
		least = min(least, now-before)
	}
	t.Logf("at most %v ahead of CLOCK_MONOTONIC", least)
	if least > 100*time.Microsecond {
		t.Errorf("%v ahead of CLOCK_MONOTONIC, want at most 100µs", least)
	}
}

func TestClosedClientReturnsErrClosed(t *testing.T) {
	w, path := created(t)
	written(t, w, recent(t))
	c := opened(t, path)
	var started, readers sync.WaitGroup
	for range 4 {
		started.Add(1)
		readers.Go(func() {
			_, err := c.Now()
			started.Done()
			for err == nil {
				_, err = c.Now()
			}
			if !errors.Is(err, os.ErrClosed) {
				t.Error(err)
			}
		})
	}
	started.Wait()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	readers.Wait()
	if err := c.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v, want ErrClosed", err)
	}
	if err := c.WaitUntilAfter(t.Context(), time.Time{}); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}

func TestWaitUntilAfterReturnsWhenTheTimeIsCertainlyPast(t *testing.T) {
	w, path := created(t)
	s := recent(t)
	s.Bound = 20 * time.Millisecond
	written(t, w, s)
	c := opened(t, path)
	now, err := c.Now()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WaitUntilAfter(t.Context(), now.Latest); err != nil {
		t.Fatal(err)
	}
	if at := time.Now().Round(0); at.Add(-s.Bound).Before(now.Latest) {
		t.Errorf("WaitUntilAfter returned %v too early", now.Latest.Sub(at.Add(-s.Bound)))
	}
	began := time.Now()
	if err := c.WaitUntilAfter(t.Context(), now.Earliest.Add(-1)); err != nil || time.Since(began) > time.Second {
		t.Errorf("for a time that is certainly past, WaitUntilAfter returned %v after %v", err, time.Since(began))
	}
}

func TestWaitUntilAfterWaitsWhileNothingIsCertain(t *testing.T) {
	w, path := created(t)
	s := recent(t)
	s.Status = Disrupted
	written(t, w, s)
	c := opened(t, path)
	past := time.Now().Add(-time.Hour)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.WaitUntilAfter(done, past); !errors.Is(err, context.Canceled) {
		t.Errorf("WaitUntilAfter: %v, want Canceled", err)
	}
	var returned atomic.Bool
	result := make(chan error)
	go func() {
		err := c.WaitUntilAfter(t.Context(), past)
		returned.Store(true)
		result <- err
	}()
	s.Status = Unknown
	written(t, w, s)
	if returned.Load() {
		t.Error("WaitUntilAfter returned though nothing was certain")
	}
	written(t, w, recent(t))
	if err := <-result; err != nil {
		t.Error(err)
	}

	s = recent(t)
	s.VoidAfter = s.AsOf
	written(t, w, s)
	if err := c.WaitUntilAfter(done, past); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrExpired) {
		t.Errorf("WaitUntilAfter: %v, want Canceled and ErrExpired", err)
	}
}

func TestNowAllocatesNothing(t *testing.T) {
	w, path := created(t)
	s := recent(t)
	written(t, w, s)
	c := opened(t, path)
	if n := testing.AllocsPerRun(1000, func() { _, _ = c.Now() }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
	if n := testing.AllocsPerRun(1000, func() {
		_ = w.Write(s)
		_, _ = c.Now()
	}); n != 0 {
		t.Errorf("%v allocations for an update and a read, want none", n)
	}
}

// TestDisruptionMarkerOfTheVirtualMachineCounts uses a segment that requires clients
// to compare its marker with that of the machine's clock page. ClockBound's writer can
// be configured to require that.
func TestDisruptionMarkerOfTheVirtualMachineCounts(t *testing.T) {
	w, path := created(t)
	s := recent(t)
	s.Marker = 5
	requires := s.segment()
	requires.vmclock = 1
	w.mapped.memory.store(requires, nil)
	if _, err := os.Stat(vmclockPath); err != nil {
		if _, err := Open(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without a clock page: %v, want ErrNotExist", err)
		}
	}
	written(t, w, s)
	c := opened(t, path)
	w.mapped.memory.store(requires, nil)
	if now, err := c.Now(); now.Status != Unknown || err != nil {
		t.Errorf("required since after Open: %v, %v; want unknown", now.Status, err)
	}
	page := new(memory)
	c.vmclock = &mapping{page}
	for _, marker := range []uint64{4, 5} {
		page[vmclockMarkerWord].Store(marker)
		if now, err := c.Now(); (now.Status == Synchronized) != (marker == 5) || err != nil {
			t.Errorf("marker %d, segment with 5: %v, %v", marker, now.Status, err)
		}
	}
}
