package guard

import (
	"math/bits"
	"math/rand/v2"
	"time"
)

// limiter limits the answers to each source by a token bucket. Sources can be
// spoofed, so it withstands three attacks:
//
//   - A sender that spoofs many sources cannot fill the memory: the table has a
//     fixed size. It evicts the sources that ask least, and these lose nothing.
//   - A sender that spoofs a victim's address cannot flood the victim: the victim
//     gets no more answers than the rate allows.
//   - That sender cannot silence the victim either: chance decides which requests
//     over the limit are answered. So the victim's own requests get their share,
//     and the victim gets an answer when it asks again.
//
// The rule, which the program of package xdp follows too. Times are in nanoseconds on
// a monotonic clock.
//
//	interval   one second / rate
//	tolerance  (burst - 1) * interval
//	reserve    interval + tolerance / 4
//
//	TAT        state of a source: its theoretical arrival time (see rate); now for
//	           a new source
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
// besides. In a steady flood, over settles where the probability is rate/flood. It is
// the same for each datagram. In a token bucket without chance, evenly spaced
// datagrams of a flood would take nearly every token as soon as there is one.
type limiter struct {
	rate
	reserve int64 // upper bound on how far a source can be over its limit, in nanoseconds
	sets    [][ways]entry
	random  *rand.ChaCha8
}

// numSets makes the table 256 KiB, for 16,384 sources. Only a source near its limit
// needs its entry.
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

// allow reports whether a datagram from a source may be answered at now. If so, it
// takes a token out of the source's bucket. hash is that of the source.
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
	if over := tat - int64(now) - l.tolerance; over > 0 && !l.passByChance(over) {
		return false
	}
	b.source, b.tat = source, tat+l.interval
	return true
}

// passByChance returns true with the probability 1 - over/reserve.
func (l *limiter) passByChance(over int64) bool {
	n, _ := bits.Mul64(l.random.Uint64(), uint64(l.reserve)) // uniform in 0 to reserve - 1
	return int64(n) >= over
}
