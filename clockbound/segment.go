package clockbound

import (
	"sync/atomic"
	"unsafe"
)

// segment is a whole segment: the layout of version 2, in the byte order of the
// processor. Its fields are where a C compiler would place them.
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
	vmclock    uint8 // 1 if clients have to compare marker with the one of /dev/vmclock0
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

// Where in a segment the words are that are used by themselves.
const (
	magicWord  = 0
	headerWord = 1 // size, version and generation
	markerWord = 7
)

// words returns s as words.
func (s *segment) words() *[numWords]uint64 { return (*[numWords]uint64)(unsafe.Pointer(s)) }

// memory is a segment that one writer and many readers share. All loads and stores
// are atomic, one word each. Go's atomic operations are sequentially consistent, so
// they are ordered on weakly ordered processors as well.
type memory [numWords]atomic.Uint64

// load copies the segment to s. It reports whether the copy is whole: the segment
// has been written and no update was under way meanwhile. The header in s is from
// before the copy in any case.
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

// store replaces the segment by s, which gets the size in the header and the next
// generation. An odd generation, which a writer left that died during an update,
// stays until this update is complete. If stored is not nil, it is called after
// each store.
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
		s.generation = 2 // 0 would mean that nothing has been written
	}
	put(headerWord)
}
