package skew

import (
	"time"

	"nowd/clock"
)

// driftOver returns an upper bound on how far an unsteered clock drifts in d.
func driftOver(d time.Duration) time.Duration { return clock.DriftOver(d) + 1 }

// steeredAt returns an interval that contains the clock's steering at a moment. The
// moment is between young and old before the host's answer; a moment after the
// answer counts as that of the answer. steeredAt returns false if the readings do
// not go back that far.
func (c *Clock) steeredAt(young, old time.Duration) (hull clock.Interval, ok bool) {
	for k := 0; k+1 < len(c.Steered); k++ {
		window, older := c.Steered[k].Ahead, c.Steered[k+1].Age
		switch {
		case older < young:
			// the window is after the moment
		case !ok:
			hull, ok = window, true
		default:
			hull = hull.Hull(window)
		}
		if older >= old {
			return hull, true
		}
	}
	return clock.Interval{}, false
}

// moment is when a link was measured, by one of its two clocks.
type moment struct {
	young, old time.Duration  // bounds on how long before the host's answer; young may be negative
	steered    clock.Interval // the clock's steering at the moment
}

// moments returns when a link was measured, by each of its two clocks. It returns
// false if the steering readings of one of them do not go back that far.
func (c *Cluster) moments(l *Link) (from, to moment, ok bool) {
	i, j := &c.Clocks[l.From], &c.Clocks[l.To]
	from = moment{young: l.Age - l.Took, old: l.Age}
	slack := 2 * driftOver(l.Age) // both clocks may drift while the link ages
	to = moment{
		young: from.young - slack + j.Asked.Low - i.Asked.High,
		old:   from.old + slack + j.Asked.High - i.Asked.Low,
	}
	if from.steered, ok = i.steeredAt(from.young, from.old); !ok {
		return from, to, false
	}
	to.steered, ok = j.steeredAt(to.young, to.old)
	return from, to, ok
}

// since returns how far the clock's error has changed from the moment m to its
// host's answer.
func (c *Clock) since(m moment) clock.Interval {
	age := max(m.old, -m.young)
	return c.Steered[0].Ahead.Minus(m.steered).Widen(driftOver(age + driftOver(age)))
}

// maxOffset is an upper bound on the offsets of links that are used. NTP cannot
// measure a larger one, because its timestamps do not contain their era.
const maxOffset = 1 << 61

// valid reports whether the fields of a link are possible.
func (c *Cluster) valid(l *Link) bool {
	n := len(c.Clocks)
	return 0 <= l.From && l.From < n && 0 <= l.To && l.To < n && l.From != l.To &&
		0 <= l.Took && l.Took <= l.Age && l.Age < maxAge && measurable(l.Offset)
}

// maxAge is an upper bound on the age of links that are used. It keeps sums from
// overflowing.
const maxAge = 1 << 55

// measurable reports whether the ends of an interval are in order and within
// ±maxOffset.
func measurable(i clock.Interval) bool {
	return -maxOffset <= i.Low && i.Low <= i.High && i.High <= maxOffset
}
