package clockbound

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapping is a mapped file: mmap(2). It is unmapped by the garbage collector, so that
// no goroutine reads unmapped memory.
type mapping struct{ memory *memory }

const (
	readOnly  = unix.PROT_READ
	readWrite = unix.PROT_READ | unix.PROT_WRITE
)

// mapFile maps the first segmentSize bytes of a file. The file must be that long.
func mapFile(file *os.File, protection int) (*mapping, error) {
	bytes, err := unix.Mmap(int(file.Fd()), 0, segmentSize, protection, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	m := &mapping{(*memory)(unsafe.Pointer(unsafe.SliceData(bytes)))}
	runtime.AddCleanup(m, func(bytes []byte) { _ = unix.Munmap(bytes) }, bytes)
	return m, nil
}

// readHeader returns the size of a file and the segment at its beginning. Bytes after
// the end of the file read as zeros.
func readHeader(file *os.File) (size int64, header segment, err error) {
	info, err := file.Stat()
	if err != nil {
		return 0, segment{}, err
	}
	if !info.Mode().IsRegular() {
		return 0, segment{}, fmt.Errorf("%w: not a regular file", ErrNoSegment)
	}
	bytes := (*[segmentSize]byte)(unsafe.Pointer(&header))
	if _, err := file.ReadAt(bytes[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, segment{}, err
	}
	return info.Size(), header, nil
}

// check returns nil if a file of this size that begins with s is a segment, and
// otherwise the reason why it is not. The error is ErrNotWritten for a file whose
// writer has not completed its first update.
func (s *segment) check(size int64) error {
	switch {
	case size == segmentSize && *s == segment{}:
		return ErrNotWritten
	case size >= int64(unsafe.Sizeof(magic)) && s.magic != magic:
		return ErrNoSegment
	case size < segmentSize:
		return ErrTooShort
	case s.version == 0:
		return ErrNotWritten
	case s.version != version2:
		return fmt.Errorf("%w: %d", ErrVersion, s.version)
	case s.size < segmentSize || size < int64(s.size):
		return ErrTooShort
	case s.generation == 0:
		return ErrNotWritten
	}
	return nil
}
