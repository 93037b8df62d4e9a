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
	file   *os.File // locked, so that no other Writer has it
	mapped *mapping
	found  *Snapshot // nil if there is none
	marker uint64
	stored func() // called after each store; nil but in tests
}

var errMemoryGone = errors.New("it was truncated, or its file system is full")

// Create opens the segment at a path for writing, and makes the file if there is
// none. Clients that have an existing segment mapped see what is written from now on.
// A file that is something else is left alone: the error wraps ErrNoSegment,
// ErrTooShort, ErrVersion, or ErrInUse if another Writer has it.
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
		err = nil // an earlier writer died before it was
	}
	if err != nil {
		return err
	}
	if w.mapped, err = mapFile(w.file, readWrite); err != nil {
		return err
	}
	return w.guarded(w.readFound)
}

// readFound reads what an earlier writer left.
func (w *Writer) readFound() {
	m := w.mapped.memory
	w.marker = m[markerWord].Load()
	if s := new(segment); m.load(s) && inMemory(w.file) {
		found := s.snapshot()
		w.found = &found
	}
}

// allocate fills the new file with zeros. The mode of the file must not depend on
// the umask, nor the first store on whether there is room for it.
func (w *Writer) allocate() error {
	if err := w.file.Chmod(0o644); err != nil {
		return err
	}
	_, err := w.file.WriteAt(make([]byte, segmentSize), 0)
	return err
}

// Found returns the last Snapshot of an earlier writer. It returns false if there is
// none, and if the file may be from an earlier boot of the host, whose clocks were
// others.
func (w *Writer) Found() (Snapshot, bool) {
	if w.found == nil {
		return Snapshot{}, false
	}
	return *w.found, true
}

// Marker returns the disruption marker that an earlier writer left, or 0.
func (w *Writer) Marker() uint64 { return w.marker }

// Write updates the segment. Readers see either all of s or nothing of it. An error
// means that the memory is gone, for somebody truncated the file or its file system
// is full; or, wrapping ErrRemoved, that programs which open the path from now on do
// not find the segment.
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

// guarded runs f, which uses the memory. An error means that the memory is gone:
// without guarded, SIGBUS would end the process.
func (w *Writer) guarded(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			if _, ok := fault.(interface{ Addr() uintptr }); !ok {
				panic(fault)
			}
			err = errMemoryGone
		}
	}()
	f()
	runtime.KeepAlive(w.mapped)
	return nil
}

// Close lets other Writers have the segment, which stays as it is.
func (w *Writer) Close() error {
	// The memory, as long as it is mapped, holds the lock as well.
	return errors.Join(unix.Flock(int(w.file.Fd()), unix.LOCK_UN), w.file.Close())
}
