package guard

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"time"
)

// breaker ends reply loops. A service that answers every datagram, even an answer,
// is in a reply loop with nowd after a single datagram with its spoofed source. The
// breaker withholds one answer, and the loop ends. A client that gets no answer asks
// again.
//
// The rule, which the program of package xdp follows too:
//
//	flow     a source (see Source) and one of its ports
//	longest  an upper bound on the answers in a run
//	window   10 s: a datagram that comes later does not reply to an answer
//
//	run      state of a flow: its answers since a window without a datagram, or
//	         since the last withheld answer; 0 for a new flow
//	seen     state of a flow: when its last datagram came
//
//	at a datagram:
//	    now - seen > window:  run = 0
//	    seen = now
//	    run < longest/2:      answer
//	    else:                 withhold with the probability 1/(longest - run + 1),
//	                          or answer
//	    an answer adds 1 to run; a withheld one sets run = 0
//
// So a run ends after longest/2 to longest answers, and each number is equally
// likely. If a service replies to an answer with at most one datagram, within the
// window, then one spoofed datagram causes at most longest answers. Several spoofed
// datagrams cause at most longest answers each: between two withheld answers are at
// most longest answers, and each withheld one ends the reply loop of one datagram.
//
// A client that asks again as soon as it is answered looks like such a service. It
// loses at most one answer in longest/2. A client that pauses for the window loses
// none. The end of a run is unpredictable. So with datagrams that spoof a client's
// address and port, a sender can have the client's own question withheld at most
// once in longest/2 times.
//
// An answer counts when it is allowed. It leaves later, so a reply to it always comes
// after it has been counted.
//
// The table has a fixed size: 32,768 flows, 256 KiB. It evicts the flow that has been
// silent for longest; a flow with a run of settled or more counts as silent for a
// window less. So the rule holds exactly while at most 2,000 other flows ask within
// the time that the service takes to reply. With 8,000 of them, a run can be a few
// answers longer. A sender gains nothing by evicting flows: that takes more datagrams
// than it gains answers.
type breaker struct {
	longest uint32
	key     uint64 // of an unpredictable hash
	sets    []flows
	random  *rand.ChaCha8
}

// flows is a set of flows, in one cache line.
type flows struct {
	tag  [ways]uint16 // part of the flow's hash: two flows with one tag share a run
	seen [ways]uint16 // in units of 2^seenUnit ns, modulo 2^16: 73 minutes
	run  [ways]uint32
}

const (
	flowSets = 4096
	seenUnit = 26
	window   = int(10*time.Second>>seenUnit) + 1 // in the unit of seen
	settled  = 16                                // longer than the bursts of NTP clients
)

func newBreaker(longest int) *breaker {
	random := newRandom()
	return &breaker{longest: uint32(longest), key: random.Uint64() | 1, sets: make([]flows, flowSets), random: random}
}

// allow reports whether a datagram from a source and a port may be answered at now.
// hash is that of the source.
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

// longestSilent returns the index of the flow to evict. It is branch-free, because the
// processor would mispredict.
func (f *flows) longestSilent(now uint16) int {
	most := math.MinInt
	for i, run := range &f.run {
		silent := int(now-f.seen[i]) - window*int(min(run/settled, 1))
		most = max(most, silent*ways+i)
	}
	return most & (ways - 1)
}
