package skew

import "nowd/clock"

// compareClaims finds claimed bounds that cannot both be true.
//
// A claim holds at the moment of a measurement. Two clocks that measured each
// other have claims for the same moment. For two that have a third one between
// them, only what the third has drifted between the two measurements is added,
// which is next to nothing where it has measured both in one round.
func (g *graph) compareClaims(r *Result) {
	for _, l := range g.links {
		r.Clocks[l.From].Claims = r.Clocks[l.From].Claims || l.FromClaim.Known
		r.Clocks[l.To].Claims = r.Clocks[l.To].Claims || l.ToClaim.Known
	}
	disputed := make([]int, len(g.Clocks)) // the last clock, plus 1, that this one's claims contradict
	for i := range r.Clocks {
		v := &r.Clocks[i]
		if !v.Claims {
			continue
		}
		for _, a := range g.arcsOf(i) {
			first := g.seenFrom(i, a.link)
			if !first.own.Known {
				continue
			}
			if first.contradicts(first.own, first.claim) {
				v.BoundWitnesses = append(v.BoundWitnesses, g.links[a.link].index)
				disputed[a.to] = i + 1
			}
			for _, b := range g.arcsOf(int(a.to)) {
				j := int(b.to)
				if j == i || disputed[j] == i+1 {
					continue
				}
				second := g.seenFrom(int(a.to), b.link)
				if second.claim.Known && g.join(first, second).contradicts(first.own, second.claim) {
					disputed[j] = i + 1
				}
			}
		}
		for _, d := range disputed {
			if d == i+1 {
				v.BoundDisputes++
			}
		}
	}
}

// sight is a link, or two in a row, as the clock at one end of it sees it.
type sight struct {
	offset     clock.Interval // of the other clock, at the moment of the measurement
	own, claim Claim          // its own and the other's
	near, far  moment         // as the clock and the other one saw it
	teller     int            // the clock that made the measurement, and tells its age
	link       *Link
}

// seenFrom returns how clock i sees a link of its own.
func (g *graph) seenFrom(i int, link int32) sight {
	l := &g.links[link]
	if l.From == i {
		return sight{l.Offset, l.FromClaim, l.ToClaim, l.fromWhen, l.toWhen, l.From, l.Link}
	}
	return sight{l.Offset.Negated(), l.ToClaim, l.FromClaim, l.toWhen, l.fromWhen, l.From, l.Link}
}

// join returns two sights in a row as one: the second is that of the clock at
// the far end of the first.
func (g *graph) join(first, second sight) sight {
	// How far the clock in the middle has moved in between.
	moved := second.near.steered.Minus(first.far.steered)
	between := max(second.near.old-first.far.young, first.far.old-second.near.young)
	if first.teller == second.teller { // both ages are from one answer
		a, b := first.link, second.link
		between = max(a.Age-(b.Age-b.Took), b.Age-(a.Age-a.Took))
		between += driftOver(between)
	}
	first.offset = first.offset.Plus(second.offset).Plus(moved).Widen(driftOver(between))
	return first
}

// contradicts reports whether two claims of the clocks at the ends cannot both be
// true.
func (s sight) contradicts(own, claim Claim) bool {
	if !own.Known || !claim.Known {
		return false
	}
	return s.offset.Disjoint(clock.Around(0, clock.AddSaturated(own.Bound, claim.Bound)))
}
