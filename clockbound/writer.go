package clockbound

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Writer writes a segment. One goroutine at a time may call its methods.
type Writer struct {
	file   *os.File // locked against other Writers
	mapped *mapping
	found  *Snapshot // returned by Found; nil if there is none
	marker uint64    // returned by Marker
	stored func()    // called after each store; only tests set it
}

var errMemoryGone = errors.New("the file was truncated, or its file system is full")

// Create opens the segment at a path for writing. If there is no file, it makes one
// with mode 0644. Clients that have mapped an existing segment see the new updates.
//
// The error wraps ErrInUse if another Writer has the segment. It wraps ErrNoSegment,
// ErrTooShort or ErrVersion if the file is not a segment; then the file stays as it
// is.
func Create(path string) (*Writer, error) {
	if _, err := AsOf(); err != nil {
		return nil, fmt.Errorf("clockbound: %w", err)
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	w := &Writer{file: file}
	if err := w.open(); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return w, nil
}

// open locks the file, checks or allocates it, and maps it.
func (w *Writer) open() error {
	size, header, err := readHeader(w.file)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(w.file.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return ErrInUse
	} else if err != nil {
		return os.NewSyscallError("flock", err)
	}
	if size == 0 {
		err = w.allocate()
	} else if err = header.check(size); errors.Is(err, ErrNotWritten) {
		err = nil // an earlier writer died during its first update
	}
	if err != nil {
		return err
	}
	if w.mapped, err = mapFile(w.file, readWrite); err != nil {
		return err
	}
	return w.guarded(w.readFound)
}

// readFound reads the last update and the marker of an earlier writer.
func (w *Writer) readFound() {
	m := w.mapped.memory
	w.marker = m[markerWord].Load()
	if s := new(segment); m.load(s) && inMemory(w.file) {
		found := s.snapshot()
		w.found = &found
	}
}

// allocate writes zeros to the new file, so that the first store cannot fail for want
// of space, and sets its mode, so that the mode does not depend on the umask.
func (w *Writer) allocate() error {
	if err := w.file.Chmod(0o644); err != nil {
		return err
	}
	_, err := w.file.WriteAt(make([]byte, segmentSize), 0)
	return err
}

// Found returns the last Snapshot of an earlier writer. It returns false if there is
// none, or if the file may be from before the host was booted: its times are then of
// another clock.
func (w *Writer) Found() (Snapshot, bool) {
	if w.found == nil {
		return Snapshot{}, false
	}
	return *w.found, true
}

// Marker returns the disruption marker of an earlier writer, or 0.
func (w *Writer) Marker() uint64 { return w.marker }

// Write updates the segment. Readers see either all of s or nothing of it. The error
// wraps ErrRemoved if the file was removed: clients that have mapped it see s, new
// clients cannot open it. Any other error means that the segment's memory is gone:
// the file was truncated, or its file system is full.
func (w *Writer) Write(s Snapshot) error {
	if err := w.guarded(func() { w.mapped.memory.store(s.segment(), w.stored) }); err != nil {
		return fmt.Errorf("%s: %w", w.file.Name(), err)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(int(w.file.Fd()), &stat); err == nil && stat.Nlink == 0 {
		return fmt.Errorf("%s: %w", w.file.Name(), ErrRemoved)
	}
	return nil
}

// guarded runs f, which uses the memory. It returns errMemoryGone where SIGBUS would
// end the process.
func (w *Writer) guarded(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			if _, isFault := p.(interface{ Addr() uintptr }); !isFault {
				panic(p)
			}
			err = errMemoryGone
		}
	}()
	f()
	runtime.KeepAlive(w.mapped)
	return nil
}

// Close lets another Writer open the segment. The segment stays as it is.
func (w *Writer) Close() error {
	// Closing the file does not unlock it while its memory is mapped.
	return errors.Join(unix.Flock(int(w.file.Fd()), unix.LOCK_UN), w.file.Close())
}
