//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"nowd/clockbound"
)

// wrong is a clock that is off, by no more than its error bound.
type wrong struct{ off, bound time.Duration }

func (w wrong) Now() (clockbound.Interval, error) {
	now := time.Now().Add(w.off).Round(0)
	return clockbound.Interval{Earliest: now.Add(-w.bound), Latest: now.Add(w.bound), Status: clockbound.Synchronized}, nil
}

func (w wrong) WaitUntilAfter(ctx context.Context, t time.Time) error {
	for {
		if now, _ := w.Now(); now.After(t) {
			return nil
		}
		if !sleep(ctx, time.Millisecond) {
			return ctx.Err()
		}
	}
}

// TestLogIsInTheOrderOfItsTimes has programs contend on hosts whose clocks are far
// apart. Each holds the lease for some entries, then pauses for long enough to lose it.
func TestLogIsInTheOrderOfItsTimes(t *testing.T) {
	dir := t.TempDir()
	s := &store{lease: filepath.Join(dir, "lease.json"), log: filepath.Join(dir, "log")}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var programs sync.WaitGroup
	for i, off := range []time.Duration{-20 * time.Millisecond, 0, 20 * time.Millisecond} {
		p := &program{
			name: fmt.Sprint("host", i), term: 60 * time.Millisecond, every: 5 * time.Millisecond,
			clock: wrong{off, 21 * time.Millisecond}, store: s, out: io.Discard,
		}
		programs.Go(func() {
			for ctx.Err() == nil {
				brief, done := context.WithTimeout(ctx, 150*time.Millisecond)
				if err := p.run(brief); err != nil {
					t.Error(err)
				}
				done()
				sleep(ctx, 150*time.Millisecond)
			}
		})
	}
	holders := func() (n int) {
		b, _ := os.ReadFile(s.log)
		for _, host := range []string{"host0", "host1", "host2"} {
			if strings.Contains(string(b), host) {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(30 * time.Second); holders() < 3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of 3 had the lease", holders())
		}
	}
	cancel()
	programs.Wait()
	b, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	var last int64
	entries := 0
	for line := range strings.Lines(string(b)) {
		var stamp int64
		if _, err := fmt.Sscan(line, &stamp); err != nil {
			t.Fatal(err)
		}
		if stamp <= last {
			t.Errorf("entry %d is %d ns before the previous one:\n%s", entries, last-stamp, b)
		}
		last = stamp
		entries++
	}
	t.Logf("%d entries", entries)
}

func TestLeaseIsTakenOnlyWhenItsEndIsCertainlyPast(t *testing.T) {
	dir := t.TempDir()
	s := &store{lease: filepath.Join(dir, "lease.json"), log: filepath.Join(dir, "log")}
	first := &program{name: "first", term: time.Hour, clock: wrong{0, time.Millisecond}, store: s, out: io.Discard}
	second := &program{name: "second", term: time.Hour, store: s, out: io.Discard}
	held, err := first.acquire()
	if err != nil || held == nil {
		t.Fatalf("%v, %v", held, err)
	}
	for _, c := range []struct {
		clock wrong
		free  bool
	}{
		{wrong{0, time.Millisecond}, false},
		{wrong{time.Hour, 10 * time.Minute}, false}, // its end may be past
		{wrong{2 * time.Hour, 10 * time.Minute}, true},
	} {
		second.clock = c.clock
		got, err := second.acquire()
		if err != nil || (got != nil) != c.free {
			t.Errorf("%+v: %v, %v", c.clock, got, err)
		}
	}
	if err := first.work(t.Context(), held); err != nil {
		t.Errorf("with its lease: %v", err)
	}
	held.Until = time.Now().Add(-time.Second)
	if err := first.work(t.Context(), held); err != errLost {
		t.Errorf("after its lease: %v", err)
	}
}
