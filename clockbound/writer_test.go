//go:build linux

package clockbound

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestCreateRefusesAFileThatIsNoSegment(t *testing.T) {
	s := segment{magic: magic, size: segmentSize, version: 3, generation: 2}
	other := (*[segmentSize]byte)(unsafe.Pointer(&s))
	for name, c := range map[string]struct {
		bytes []byte
		want  error
	}{
		"a text":          {[]byte("precious, and longer than a segment of eighty bytes would be, so that it could be taken for one"), ErrNoSegment},
		"a short text":    {[]byte("precious"), ErrNoSegment},
		"another version": {other[:], ErrVersion},
		"truncated":       {other[:40], ErrTooShort},
		"one byte":        {[]byte{0}, ErrTooShort},
	} {
		path := filepath.Join(t.TempDir(), "shm0")
		if err := os.WriteFile(path, c.bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Create(path); !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %v with the path", name, err, c.want)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, c.bytes) {
			t.Errorf("%s: the file was changed to %q, %v", name, got, err)
		}
	}
	if _, err := Create(filepath.Join(t.TempDir(), "none", "shm0")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v, want ErrNotExist", err)
	}
	if _, err := Create(t.TempDir()); err == nil {
		t.Error("Create accepted a directory")
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(fifo); !errors.Is(err, ErrNoSegment) {
		t.Errorf("a named pipe: %v, want ErrNoSegment", err)
	}
}

func TestSegmentHasOneWriter(t *testing.T) {
	w, path := created(t)
	if _, err := Create(path); !errors.Is(err, ErrInUse) {
		t.Errorf("a second writer: %v, want ErrInUse", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
}

func TestFileIsReadableByAllUsers(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	_, path := created(t)
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o644 || info.Size() != segmentSize {
		t.Errorf("%v, %d bytes, %v", info.Mode(), info.Size(), err)
	}
}

func TestNextWriterContinuesInTheSameFile(t *testing.T) {
	w, path := createdInMemory(t)
	s := recent(t)
	s.Marker = 7
	if _, ok := w.Found(); ok || w.Marker() != 0 {
		t.Error("found a snapshot or a marker in a new file")
	}
	written(t, w, s)
	c := opened(t, path)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.Stat(path)
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if found, ok := w.Found(); !ok || found != s || w.Marker() != 7 {
		t.Errorf("found %+v, %v, marker %d", found, ok, w.Marker())
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("Create made another file")
	}
	s.Bound = time.Second
	written(t, w, s)
	if now, err := c.Now(); err != nil || now.Latest.Sub(now.Earliest) < 2*time.Second {
		t.Errorf("a client that has mapped the file sees %+v, %v; want the new bound", now, err)
	}
	if h := w.mapped.memory.header(); h.generation != 4 {
		t.Errorf("generation %d after the second update, want 4", h.generation)
	}
}

// createdInMemory returns a Writer of a segment on a tmpfs.
func createdInMemory(t *testing.T) (*Writer, string) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "clockbound")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "shm0")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w, path
}

func TestNothingIsFoundInAFileThatMayBeFromAnEarlierBoot(t *testing.T) {
	w, path := created(t)
	if inMemory(w.file) {
		t.Skip("the directory of temporary files is on a tmpfs")
	}
	s := recent(t)
	s.Marker = 7
	written(t, w, s)
	_ = w.Close()
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if found, ok := w.Found(); ok || w.Marker() != 7 {
		t.Errorf("found %+v, marker %d", found, w.Marker())
	}
}

func TestTruncatedFileIsAnErrorOfTheWriter(t *testing.T) {
	w, path := created(t)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(recent(t)); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("Write to a truncated file: %v, want an error with the path", err)
	}
	if err := os.Truncate(path, segmentSize); err != nil {
		t.Fatal(err)
	}
	written(t, w, recent(t))
	if now, err := opened(t, path).Now(); err != nil || now.Status != Synchronized {
		t.Errorf("Now after the file was extended: %+v, %v; want synchronized", now, err)
	}
}

// TestNoRoomForTheSegmentIsAnErrorOfTheWriter uses a file without memory: the file was
// extended without a write, and its file system is full.
func TestNoRoomForTheSegmentIsAnErrorOfTheWriter(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "shm0")
	var mounted, created error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // without unlocking: the thread ends with its goroutine, and its mounts with it
		if mounted = errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4k")); mounted != nil {
			return
		}
		page := make([]byte, os.Getpagesize())
		if mounted = errors.Join(os.WriteFile(filepath.Join(dir, "full"), page, 0o600), os.WriteFile(path, nil, 0o600), os.Truncate(path, segmentSize)); mounted != nil {
			return
		}
		_, created = Create(path)
	}()
	<-done
	if mounted != nil {
		if os.Getenv("CI") != "true" {
			t.Skip("mounting needs root: ", mounted)
		}
		t.Fatal(mounted)
	}
	if !errors.Is(created, errMemoryGone) || !strings.Contains(created.Error(), path) {
		t.Errorf("Create: %v, want errMemoryGone with the path", created)
	}
}

func TestRemovedFileIsAnErrorOfTheWriter(t *testing.T) {
	w, path := created(t)
	written(t, w, recent(t))
	c := opened(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := w.Write(recent(t)); !errors.Is(err, ErrRemoved) || !strings.Contains(err.Error(), path) {
		t.Errorf("Write: %v, want ErrRemoved with the path", err)
	}
	if now, err := c.Now(); err != nil || now.Status != Synchronized {
		t.Errorf("a client that has mapped the file sees %+v, %v; want synchronized", now, err)
	}
}

// TestWriterMayBeKilledBetweenTwoStores runs a writer in another process, which kills
// itself after each of the stores, from the first one in a new file on. Readers see
// only whole updates, and the next writer continues.
func TestWriterMayBeKilledBetweenTwoStores(t *testing.T) {
	if os.Getenv("KILLED_PATH") != "" {
		killedAfterStores(t)
		return
	}
	const perUpdate = numWords + 1
	var c *Client
	path := filepath.Join(t.TempDir(), "shm0")
	last := uint64(0) // the last update that was complete
	for after := 1; after <= 3*perUpdate; after++ {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWriterMayBeKilledBetweenTwoStores$")
		cmd.Env = append(os.Environ(), "KILLED_PATH="+path, fmt.Sprintf("KILLED_AFTER=%d", after), fmt.Sprintf("KILLED_FROM=%d", last+1))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the writer was not killed by SIGKILL: %v\n%s", err, out)
		}
		last += uint64(after / perUpdate)
		if c == nil {
			if c, err = Open(path); err != nil && (!errors.Is(err, ErrNotWritten) || last > 0) {
				t.Fatalf("after %d stores: %v", after, err)
			}
			if c == nil {
				continue
			}
		}
		var s segment
		switch err := c.snapshot(c.mapped.Load().memory, &s); {
		case err != nil && (!errors.Is(err, ErrNotWritten) || last > 0):
			t.Fatalf("after %d stores: %v", after, err)
		case err == nil && s.snapshot() != numbered(s.marker):
			t.Fatalf("after %d stores: torn: %+v", after, s)
		case err == nil && s.marker > last:
			t.Fatalf("after %d stores: the reader sees update %d, but the last complete one is %d", after, s.marker, last)
		case err == nil && after%perUpdate == 0 && s.marker != last:
			t.Fatalf("after %d stores: the reader sees update %d, want %d", after, s.marker, last)
		}
	}
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	before := w.mapped.memory.header().generation
	written(t, w, numbered(1000))
	if s := new(segment); !w.mapped.memory.load(s) || s.snapshot() != numbered(1000) || s.generation <= before {
		t.Errorf("after an update of the next writer: %+v", s)
	}
}

// killedAfterStores writes updates, and kills this process after KILLED_AFTER stores.
func killedAfterStores(t *testing.T) {
	after, _ := strconv.Atoi(os.Getenv("KILLED_AFTER"))
	n, _ := strconv.ParseUint(os.Getenv("KILLED_FROM"), 10, 64)
	w, err := Create(os.Getenv("KILLED_PATH"))
	if err != nil {
		t.Fatal(err)
	}
	w.stored = func() {
		if after--; after == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	for ; ; n++ {
		written(t, w, numbered(n))
	}
}
