package skew

import (
	"math/bits"
	"time"

	"nowd/clock"
)

// compareClaims finds claimed bounds that cannot both be true.
//
// A claim holds at the moment of a measurement. The two clocks of a link have
// claims for the same moment. Two clocks that are linked by a third one have
// claims for two moments. Between these the third one drifts, which widens their
// offset. The drift is tiny if the third one has measured both in one round.
func (g *graph) compareClaims(r *Result) {
	disputes := newPairs(len(g.Clocks))
	var views []view
	for i := range g.Clocks {
		views = g.viewsOf(i, views[:0])
		for k, a := range views {
			if a.own.Known {
				r.Clocks[i].Claims = true
			}
			if contradict(a.offset, a.own, a.claim) {
				disputes.add(i, a.other)
				r.Clocks[i].BoundWitnesses = append(r.Clocks[i].BoundWitnesses, a.link.index)
			}
			for _, b := range views[:k] {
				apart := a.rebased.Minus(b.rebased)
				if a.other != b.other && contradict(apart, a.claim, b.claim) && // a cheap check first: drift can only undo a contradiction
					contradict(apart.Widen(driftOver(between(&a, &b))), a.claim, b.claim) {
					disputes.add(a.other, b.other)
				}
			}
		}
	}
	for i := range r.Clocks {
		r.Clocks[i].BoundDisputes = disputes.of(i)
	}
}

// contradict reports whether the claims of two clocks cannot both be true. offset
// is that between the clocks.
func contradict(offset clock.Interval, a, b Claim) bool {
	return a.Known && b.Known && offset.Disjoint(clock.Around(0, clock.AddSaturated(a.Bound, b.Bound)))
}

// view is a link, from one of its clocks.
type view struct {
	other      int
	offset     clock.Interval // of the other clock from this one, at the moment of the measurement
	own, claim Claim          // of this clock, and of the other
	// rebased is the offset of the other clock from this one without its steering.
	// The difference of two rebased offsets is the offset between the two other
	// clocks, apart from this clock's drift between the measurements.
	rebased clock.Interval
	when    moment // of the measurement, by this clock
	link    *agedLink
}

// viewsOf appends the views of a clock's links.
func (g *graph) viewsOf(i int, views []view) []view {
	for _, a := range g.arcsOf(i) {
		l := &g.links[a.link]
		v := view{int(a.to), l.Offset, l.FromClaim, l.ToClaim, clock.Interval{}, l.fromWhen, l}
		if l.From != i {
			v = view{int(a.to), l.Offset.Negated(), l.ToClaim, l.FromClaim, clock.Interval{}, l.toWhen, l}
		}
		v.rebased = v.offset.Plus(v.when.steered)
		views = append(views, v)
	}
	return views
}

// between returns an upper bound on the time between two measurements of one
// clock.
func between(a, b *view) time.Duration {
	if k, l := a.link, b.link; k.From == l.From { // one answer has both ages
		apart := max(k.Age-(l.Age-l.Took), l.Age-(k.Age-k.Took))
		return apart + driftOver(apart)
	}
	return max(a.when.old-b.when.young, b.when.old-a.when.young)
}

// pairs is a set of pairs of clocks.
type pairs struct {
	words int
	bits  []uint64 // a row of words for each clock
}

func newPairs(n int) pairs {
	words := (n + 63) / 64
	return pairs{words, make([]uint64, n*words)}
}

func (p pairs) add(i, j int) {
	p.bits[i*p.words+j/64] |= 1 << (j % 64)
	p.bits[j*p.words+i/64] |= 1 << (i % 64)
}

// of returns how many pairs a clock is in.
func (p pairs) of(i int) (n int) {
	for _, w := range p.bits[i*p.words : (i+1)*p.words] {
		n += bits.OnesCount64(w)
	}
	return n
}
