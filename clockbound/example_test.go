//go:build linux

package clockbound_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"nowd/clockbound"
)

// store is a database of which every reader sees a version as soon as it is visible.
type store struct{ visible time.Time }

func (s *store) prepare(string)            {}
func (s *store) commit(version time.Time)  { s.visible = version }
func (s *store) isPast(now time.Time) bool { return now.After(s.visible) }

// Commit wait: a version is stamped with the latest time that it can be now, and
// becomes visible when that time is certainly past. So whoever sees it, on any host,
// gets a later stamp for what is done next.
func ExampleClient_WaitUntilAfter() {
	path, stop := segment() // in a pod: "/var/run/clockbound/shm0"
	defer stop()
	clock, err := clockbound.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer clock.Close()

	var db store
	db.prepare("x = 1")
	now, err := clock.Now()
	if err != nil || !now.Status.Bounded() {
		fmt.Println("not now:", now.Status, err)
		return
	}
	version := now.Latest
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := clock.WaitUntilAfter(ctx, version); err != nil {
		fmt.Println(err) // nothing is visible yet
		return
	}
	db.commit(version)

	now, _ = clock.Now()
	fmt.Println(now.Status, db.isPast(now.Earliest))
	// Output: synchronized true
}

// A lease is held until its end has certainly come, and free when its end is
// certainly past. In between it is nobody's.
func ExampleInterval() {
	end := time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)
	for _, at := range []time.Duration{-2, 0, 2} {
		middle := end.Add(at * time.Millisecond)
		now := clockbound.Interval{Earliest: middle.Add(-time.Millisecond), Latest: middle.Add(time.Millisecond)}
		fmt.Println("held:", now.Before(end), "free:", now.After(end))
	}
	// Output:
	// held: true free: false
	// held: false free: false
	// held: false free: true
}

// segment returns a segment that says that the clock is off by at most 1 ms.
func segment() (path string, stop func()) {
	dir, _ := os.MkdirTemp("", "clockbound")
	path = filepath.Join(dir, "shm0")
	w, err := clockbound.Create(path)
	if err != nil {
		panic(err)
	}
	asOf, _ := clockbound.AsOf()
	_ = w.Write(clockbound.Snapshot{
		AsOf: asOf, VoidAfter: asOf + time.Minute, Bound: time.Millisecond, MaxDrift: 500_000, Status: clockbound.Synchronized,
	})
	return path, func() { _ = w.Close(); _ = os.RemoveAll(dir) }
}
