//go:build linux

package clockbound

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// compiled builds a C program of testdata and returns its path.
func compiled(t testing.TB, source string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("gcc", "-O2", "-Wall", "-Werror", "-o", path, filepath.Join("testdata", source)).CombinedOutput(); err != nil {
		if os.Getenv("CI") != "true" {
			t.Skipf("gcc: %v\n%s", err, out)
		}
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return path
}

// created returns a new Writer and the path of its file.
func created(t testing.TB) (w *Writer, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "shm0")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w, path
}

func opened(t testing.TB, path string) *Client {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func written(t testing.TB, w *Writer, s Snapshot) {
	t.Helper()
	if err := w.Write(s); err != nil {
		t.Fatal(err)
	}
}

// recent returns a synchronized Snapshot of now.
func recent(t testing.TB) Snapshot {
	t.Helper()
	now, err := AsOf()
	if err != nil {
		t.Fatal(err)
	}
	return Snapshot{AsOf: now, VoidAfter: now + time.Minute, Bound: time.Millisecond, MaxDrift: 500_000, Status: Synchronized}
}

// numbered returns snapshot n. All its values follow from n, so a test detects a
// mixture of two snapshots.
func numbered(n uint64) Snapshot {
	return Snapshot{
		AsOf:      time.Duration(n)*time.Second + time.Duration(n%1000),
		VoidAfter: time.Duration(n+1)*time.Second + time.Duration(n%7),
		Bound:     time.Duration(3 * n),
		Marker:    n,
		MaxDrift:  uint32(n % 1000),
		Status:    Status(n % 4),
	}
}

// within waits until f returns "", and fails the test after limit.
func within(t testing.TB, limit time.Duration, f func() string) {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		wrong := f()
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", limit, wrong)
		}
	}
}
