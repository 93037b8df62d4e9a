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

// store is a database. Every reader sees a version as soon as it is visible.
type store struct{ visible time.Time }

func (s *store) prepare(string)            {}
func (s *store) commit(version time.Time)  { s.visible = version }
func (s *store) isPast(now time.Time) bool { return now.After(s.visible) }

// Commit wait: the store stamps a version with the latest possible time, and makes it
// visible when that time is certainly past. So a client that has seen the version, on
// any host, gets later stamps for its own versions.
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
		fmt.Println("cannot commit now:", now.Status, err)
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

// A lease is held while its end is certainly in the future. It is free when its end
// is certainly past. In between it is neither.
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

// segment returns a segment with an error bound of 1 ms.
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
