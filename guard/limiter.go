package guard

import (
	crand "crypto/rand"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Limiter limits the answers to each source by a token bucket. Source addresses
// can be spoofed, so it withstands two attacks. A sender that spoofs many
// addresses cannot fill the memory: the table has a fixed size, and the sources
// that ask least are evicted first, which makes no difference to them. A sender
// that spoofs a victim's address cannot silence the victim: a random share of the
// requests over the limit is answered, so the victim gets an answer when it asks
// again.
//
// It belongs to one goroutine.
type Limiter struct {
	rate
	seed   maphash.Seed
	sets   [][ways]entry
	random *rand.ChaCha8
}

// entry is the bucket of one source. The zero entry is a full bucket.
type entry struct {
	source uint64
	tat    int64 // theoretical arrival time: see rate
}

const (
	// ways is the number of entries in a set. A source's hash chooses its set.
	ways = 8
	// numSets is the number of sets. It makes the table 256 KiB, for 16,384
	// sources at a time. Only a source that is near its limit needs its entry.
	numSets = 2048
	// leak is the share of requests over the limit that is answered: one of leak.
	leak = 3
)

// NewLimiter returns a limiter of perSecond answers a second and burst at once,
// both at least 1.
func NewLimiter(perSecond, burst int) *Limiter {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	return &Limiter{
		rate:   newRate(perSecond, burst),
		seed:   maphash.MakeSeed(),
		sets:   make([][ways]entry, numSets),
		random: rand.NewChaCha8(seed),
	}
}

// Allow reports whether a datagram from src may be answered at now, and if so,
// takes a token out of its source's bucket. now is on a monotonic clock.
func (l *Limiter) Allow(src netip.Addr, now time.Duration) bool {
	source := Source(src)
	set := &l.sets[maphash.Comparable(l.seed, source)%numSets]
	b := &set[0]
	for i := range set {
		if set[i].source == source {
			b = &set[i]
			break
		}
		// The fullest bucket is evicted: its source is farthest from its limit.
		if set[i].tat < b.tat {
			b = &set[i]
		}
	}
	tat := int64(now)
	if b.source == source {
		tat = b.tat
	}
	tat, ok := l.allow(tat, now)
	if !ok {
		return l.random.Uint64()%leak == 0
	}
	b.source, b.tat = source, tat
	return true
}

// Source returns the key that stands for one client: a whole IPv4 address, or the
// /64 prefix of an IPv6 address, since a client may have a /64 to itself.
func Source(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		// As an IPv6 prefix this would be multicast, so no client has the same key.
		return 0xffff_ffff<<32 | uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
	}
	b := a.As16()
	var n uint64
	for _, c := range b[:8] {
		n = n<<8 | uint64(c)
	}
	return n
}
