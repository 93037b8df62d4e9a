package guard

import (
	crand "crypto/rand"
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Sources is the state that the guards of one loop keep for each source: its token
// bucket (limiter.go), and the answers in a row to each of its ports (breaker.go). Its
// memory is fixed. It is for one goroutine.
type Sources struct {
	seed    maphash.Seed // of an unpredictable hash
	breaker *breaker
	limiter *limiter // nil for none
}

// Limits are the limits for one source.
type Limits struct {
	// PerSecond is the number of answers a second, and Burst the number of answers
	// at once. Both must be at least 1, but a PerSecond of 0 is no limit.
	PerSecond, Burst int
	// LongestRun is an upper bound on the answers in a row to one port of the
	// source: breaker.go. It must be at least 2.
	LongestRun int
}

// NewSources returns Sources without any state yet.
func NewSources(l Limits) *Sources {
	s := &Sources{seed: maphash.MakeSeed(), breaker: newBreaker(l.LongestRun)}
	if l.PerSecond != 0 {
		s.limiter = newLimiter(l.PerSecond, l.Burst)
	}
	return s
}

// judge returns the verdict on a datagram from src by the state of its source:
// ReplyLoop, RateLimit or Pass. now is on a monotonic clock.
func (s *Sources) judge(src netip.AddrPort, now time.Duration) Verdict {
	source := Source(src.Addr())
	hash := maphash.Comparable(s.seed, source)
	switch {
	// The breaker comes first, so that it counts all answers, including kisses to a
	// source over its limit.
	case !s.breaker.allow(hash, src.Port(), now):
		return ReplyLoop
	case s.limiter != nil && !s.limiter.allow(source, hash, now):
		return RateLimit
	}
	return Pass
}

// Source returns the key of one client: the IPv4 address, or the /64 prefix of an IPv6
// address, because one client may have a whole /64.
func Source(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		// As an IPv6 prefix this key would be multicast, so no IPv6 client has it.
		return 0xffff_ffff<<32 | uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])
	}
	b := a.As16()
	var n uint64
	for _, c := range b[:8] {
		n = n<<8 | uint64(c)
	}
	return n
}

// ways is the number of entries in a set of a table. A hash chooses the set.
const ways = 8

// newRandom returns an unpredictable source of random numbers.
func newRandom() *rand.ChaCha8 {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	return rand.NewChaCha8(seed)
}
