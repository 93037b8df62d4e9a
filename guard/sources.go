package guard

import (
	crand "crypto/rand"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Sources is what the guards of one loop remember of each source: what is left of its
// limit, and how long its conversations have gone on. Its memory is fixed. It belongs
// to one goroutine.
type Sources struct {
	seed    maphash.Seed // of a hash that nobody can predict
	breaker *breaker
	limiter *limiter // nil for none
}

// Limits are the limits for one source.
type Limits struct {
	// PerSecond is the number of answers a second, and Burst the number of answers
	// at once, each at least 1. PerSecond 0 is no limit.
	PerSecond, Burst int
	// LongestRun is the greatest number of answers in a row to one port of the
	// source, at least 2: see breaker.
	LongestRun int
}

// NewSources returns Sources that remember nothing yet.
func NewSources(l Limits) *Sources {
	s := &Sources{seed: maphash.MakeSeed(), breaker: newBreaker(l.LongestRun)}
	if l.PerSecond != 0 {
		s.limiter = newLimiter(l.PerSecond, l.Burst)
	}
	return s
}

// judge returns the verdict on a datagram from src by what has come from there
// before: ReplyLoop, RateLimit or Pass. now is on a monotonic clock.
func (s *Sources) judge(src netip.AddrPort, now time.Duration) Verdict {
	source := Source(src.Addr())
	hash := maphash.Comparable(s.seed, source)
	switch {
	// The breaker comes first, so that it counts whatever is answered, kisses to a
	// source over its limit included.
	case !s.breaker.allow(hash, src.Port(), now):
		return ReplyLoop
	case s.limiter != nil && !s.limiter.allow(source, hash, now):
		return RateLimit
	}
	return Pass
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

// ways is the number of places in a set of a table. A hash chooses the set.
const ways = 8

// newRandom returns random numbers that nobody can predict.
func newRandom() *rand.ChaCha8 {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	return rand.NewChaCha8(seed)
}
