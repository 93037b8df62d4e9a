package clockbound

import (
	"sync/atomic"
	"unsafe"
)

// segment has the memory layout of a segment of version 2, in the byte order of the
// processor. Its fields have the offsets that a C compiler gives them.
type segment struct {
	magic      [2]uint32
	size       uint32 // of the segment, in bytes
	version    uint16
	generation uint16 // odd during an update, even after it; 0 before the first
	asOf       timespec
	voidAfter  timespec
	bound      int64 // ns
	marker     uint64
	maxDrift   uint32 // parts per billion
	status     Status
	vmclock    uint8 // 1 if clients must compare marker with that of /dev/vmclock0
	_          [7]uint8
}

type timespec struct{ sec, nsec int64 }

const (
	segmentSize = 80
	version2    = 2
)

var magic = [2]uint32{0x414D5A4E, 0x43420200}

// numWords is the size of a segment in words of 64 bits.
const numWords = segmentSize / 8

// Indexes of words in a segment.
const (
	magicWord  = 0
	headerWord = 1 // size, version and generation
	markerWord = 7
)

// words returns s as words.
func (s *segment) words() *[numWords]uint64 { return (*[numWords]uint64)(unsafe.Pointer(s)) }

// memory is a segment that one writer and many readers share. Each load and store is
// atomic and of one word. Go's atomic operations are sequentially consistent, so
// they are in order on all processors.
type memory [numWords]atomic.Uint64

// load copies the segment to s and reports whether the copy is whole: the segment has
// been written, and no update changed it during the copy. The header in s is always
// the one that was read first.
func (m *memory) load(s *segment) (whole bool) {
	w := s.words()
	w[magicWord] = m[magicWord].Load()
	w[headerWord] = m[headerWord].Load()
	if s.generation == 0 || s.generation%2 != 0 {
		return false
	}
	for i := headerWord + 1; i < numWords; i++ {
		w[i] = m[i].Load()
	}
	return m[headerWord].Load() == w[headerWord]
}

// header loads the header alone.
func (m *memory) header() (s segment) {
	w := s.words()
	w[magicWord], w[headerWord] = m[magicWord].Load(), m[headerWord].Load()
	return s
}

// store replaces the segment by s, with the size of the old header and the next
// generation. If a writer died during an update, it left an odd generation, which
// stays until this update is complete. If stored is not nil, store calls it after
// each word.
func (m *memory) store(s segment, stored func()) {
	old := m.header()
	s.magic, s.version = magic, version2
	s.size = max(old.size, segmentSize)
	s.generation = old.generation | 1
	put := func(word int) {
		m[word].Store(s.words()[word])
		if stored != nil {
			stored()
		}
	}
	put(magicWord)
	put(headerWord)
	for i := headerWord + 1; i < numWords; i++ {
		put(i)
	}
	if s.generation++; s.generation == 0 {
		s.generation = 2 // 0 means that there was no update
	}
	put(headerWord)
}
