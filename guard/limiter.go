package guard

import (
	"math/bits"
	"math/rand/v2"
	"time"
)

// limiter limits the answers to each source by a token bucket. Source addresses
// can be spoofed, so it withstands three attacks. A sender that spoofs many
// addresses cannot fill the memory: the table has a fixed size, and the sources
// that ask least are evicted first, which makes no difference to them. A sender
// that spoofs a victim's address cannot have it flooded: whatever is asked in its
// name, the victim is sent as many answers as the rate allows. Nor can that sender
// silence the victim: chance decides which requests over the limit are answered, so
// the victim's own get their share, and it gets an answer when it asks again.
//
// The rule, for whoever implements it elsewhere. Times are in nanoseconds on a
// monotonic clock.
//
//	interval   one second / rate
//	tolerance  (burst - 1) * interval
//	reserve    interval + tolerance / 4
//
//	TAT        the state of a source: its theoretical arrival time (see rate);
//	           now, if it has none yet
//
//	at a datagram:
//	    TAT  = max(TAT, now)
//	    over = TAT - now - tolerance
//	    over <= 0:           answer
//	    0 < over < reserve:  answer with the probability 1 - over/reserve
//	    over >= reserve:     drop
//	    an answer adds interval to the TAT
//
// So a source gets at most burst and a quarter more at once, and rate a second
// besides. In a steady flood, over settles where the probability is rate/flood, for
// each datagram alike. By a token bucket without chance, a flood of evenly spaced
// datagrams has nearly all tokens, each as soon as there is one.
type limiter struct {
	rate
	reserve int64 // how far a source can be over its limit, in nanoseconds
	sets    [][ways]entry
	random  *rand.ChaCha8
}

// numSets makes the table 256 KiB, for 16,384 sources at a time. Only a source that
// is near its limit needs its entry.
const numSets = 2048

// entry is the bucket of one source. The zero entry is a full bucket.
type entry struct {
	source uint64
	tat    int64 // theoretical arrival time: see rate
}

func newLimiter(perSecond, burst int) *limiter {
	r := newRate(perSecond, burst)
	return &limiter{rate: r, reserve: ParametersOf(perSecond, burst).Reserve, sets: make([][ways]entry, numSets), random: newRandom()}
}

// allow reports whether a datagram from a source, whose hash it is given, may be
// answered at now, and if so, takes a token out of the source's bucket.
func (l *limiter) allow(source, hash uint64, now time.Duration) bool {
	set := &l.sets[hash%numSets]
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
		tat = max(tat, b.tat)
	}
	if over := tat - int64(now) - l.tolerance; over > 0 && !l.lucky(over) {
		return false
	}
	b.source, b.tat = source, tat+l.interval
	return true
}

// lucky reports, with the probability 1 - over/reserve, that a source over its limit
// is answered.
func (l *limiter) lucky(over int64) bool {
	n, _ := bits.Mul64(l.random.Uint64(), uint64(l.reserve)) // of 0 to reserve - 1, each as likely
	return int64(n) >= over
}
