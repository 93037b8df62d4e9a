package guard

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"time"
)

// breaker ends conversations that would never end by themselves. A service that
// answers everything, even answers, keeps one with nowd after a single datagram in
// its name. Such a conversation is a token that is passed to and fro: one answer is
// withheld, and it is over. A client asks again.
//
// The rule, for whoever implements it elsewhere:
//
//	flow     a source (see Source) and one of its ports
//	longest  the greatest number of answers in a run
//	window   10 s: what comes later is no answer to an answer
//
//	run      the state of a flow: its answers since a window without a datagram, or
//	         since one was withheld; 0 if it has none yet
//	seen     the state of a flow: when its last datagram came
//
//	at a datagram:
//	    now - seen > window:  run = 0
//	    seen = now
//	    run < longest/2:      answer
//	    else:                 withhold with the probability 1/(longest - run + 1),
//	                          or answer
//	    an answer adds 1 to run; after one is withheld, run = 0
//
// So a run ends after longest/2 to longest answers, each number as likely as any
// other. If a service answers a datagram with at most one, within the window, then
// one injected datagram causes at most longest answers. If several are injected,
// each causes as many: at most longest answers lie between two that are withheld,
// and each that is withheld is the end of one token.
//
// A client that asks as soon as it is answered is no different from such a service,
// until it asks again. It loses at most one answer of longest/2; one that pauses for
// the window loses none. Nobody can know when a run ends. So whoever sends datagrams
// in the name of a client's address and port hits the client's own question with the
// withheld answer at most once in longest/2 times.
//
// What may be answered counts as answered at once. No answer leaves earlier, so
// nothing that an answer has prompted is taken for unprompted.
//
// The table has a fixed size: 32,768 flows, 256 KiB. The flow that has been silent
// for longest is evicted first, where one with a run of settled or more counts as
// silent for a window less. So the rule holds while no more than 2,000 other flows
// ask within the time that the service takes; while 8,000 do, a run can be a few
// answers longer. No false sender can prolong it: that takes more datagrams than it
// gains answers.
type breaker struct {
	longest uint32
	key     uint64 // of a hash that nobody can predict
	sets    []flows
	random  *rand.ChaCha8
}

// flows is a set of flows, in one cache line.
type flows struct {
	tag  [ways]uint16 // part of the flow's hash: two flows of one tag share a run
	seen [ways]uint16 // in units of 2^seenUnit ns, modulo 2^16: 73 minutes
	run  [ways]uint32
}

const (
	flowSets = 4096
	seenUnit = 26
	window   = int(10*time.Second>>seenUnit) + 1 // in the unit of seen
	// settled is longer than the bursts of NTP clients.
	settled = 16
)

func newBreaker(longest int) *breaker {
	random := newRandom()
	return &breaker{longest: uint32(longest), key: random.Uint64() | 1, sets: make([]flows, flowSets), random: random}
}

// allow reports whether a datagram from a port of a source, whose hash it is given,
// may be answered at now.
func (b *breaker) allow(hash uint64, port uint16, now time.Duration) bool {
	high, low := bits.Mul64(hash^uint64(port), b.key)
	hash = high ^ low
	f, tag, seen := &b.sets[hash%flowSets], uint16(hash>>48), uint16(now>>seenUnit)
	i := f.find(tag)
	switch {
	case i < 0:
		i = f.longestSilent(seen)
		f.tag[i], f.run[i] = tag, 0
	case int(seen-f.seen[i]) > window:
		f.run[i] = 0
	}
	f.seen[i] = seen
	if run := f.run[i]; run >= b.longest/2 && b.random.Uint64()%uint64(b.longest-run+1) == 0 {
		f.run[i] = 0
		return false
	}
	f.run[i]++
	return true
}

// find returns the index of a flow, or -1.
func (f *flows) find(tag uint16) int {
	for i, t := range &f.tag {
		if t == tag {
			return i
		}
	}
	return -1
}

// longestSilent returns the index of the flow to evict. It has no branch for the
// processor to mispredict.
func (f *flows) longestSilent(now uint16) int {
	most := math.MinInt
	for i, run := range &f.run {
		silent := int(now-f.seen[i]) - window*int(min(run/settled, 1))
		most = max(most, silent*ways+i)
	}
	return most & (ways - 1)
}
