package guard

import (
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Limiter limits how many answers a source gets: so many a second, and so many
// at once after it has been silent. What claims to be of one source may be of
// another, so it is built for two kinds of false senders. One uses many
// addresses, to fill the memory: the table has a fixed size, and those who ask
// little are forgotten first, to whom it makes no difference. The other uses a
// victim's address, to use up what the victim is due: a share of what is over
// the limit is answered all the same, at random, so that the victim is answered
// when it asks again.
//
// It belongs to one goroutine.
type Limiter struct {
	pace
	seed   maphash.Seed
	sets   [][ways]entry
	random *rand.ChaCha8
}

// entry is the bucket of one source. An empty one is full.
type entry struct {
	source uint64
	full   int64 // when, on the clock of the caller
}

const (
	// ways is how many sources have a place in the same set.
	ways = 8
	// numSets makes the table 256 KiB, for 16,384 sources at a time; only
	// those over their rate need one.
	numSets = 2048
	// leak is of how many answers over the limit one is given.
	leak = 3
)

// NewLimiter returns a limiter of rate answers a second and burst at once, both
// at least 1.
func NewLimiter(rate, burst int) *Limiter {
	var seed [32]byte
	for i := range seed {
		seed[i] = byte(rand.Uint32())
	}
	return &Limiter{
		pace:   newPace(rate, burst),
		seed:   maphash.MakeSeed(),
		sets:   make([][ways]entry, numSets),
		random: rand.NewChaCha8(seed),
	}
}

// Allow reports whether a datagram from src is to be answered at now, which is
// on a monotonic clock, and counts it if it is.
func (l *Limiter) Allow(src netip.Addr, now time.Duration) bool {
	source := Source(src)
	set := &l.sets[maphash.Comparable(l.seed, source)%numSets]
	b := &set[0]
	for i := range set {
		if set[i].source == source {
			b = &set[i]
			break
		}
		// Nobody who is close to his limit makes room for one who is not.
		if set[i].full < b.full {
			b = &set[i]
		}
	}
	full := int64(now)
	if b.source == source {
		full = b.full
	}
	full, ok := l.take(full, now)
	if !ok {
		return l.random.Uint64()%leak == 0
	}
	b.source, b.full = source, full
	return true
}

// Source returns what of an address stands for one client: all of IPv4's, and
// of IPv6's the 64 bits that a network is assigned.
func Source(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		// IPv6 has no such prefix for a single client: it is multicast's.
		return 0xffff_ffff<<32 | uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
	}
	b := a.As16()
	var n uint64
	for _, c := range b[:8] {
		n = n<<8 | uint64(c)
	}
	return n
}
