package skew

import (
	"time"

	"nowd/clock"
)

// driftOver returns an upper bound on how far a clock that nobody steers drifts
// in d, rounded up.
func driftOver(d time.Duration) time.Duration { return clock.DriftOver(d) + 1 }

// steeredAt returns between which readings the clock's steering was at a moment
// that is between young and old before the host was asked. It returns false if
// the readings do not go back that far. A moment after the host was asked counts
// as that moment.
func (c *Clock) steeredAt(young, old time.Duration) (hull clock.Interval, ok bool) {
	for k := 0; k+1 < len(c.Steered); k++ {
		window, older := c.Steered[k].Ahead, c.Steered[k+1].Age
		switch {
		case older < young:
			// the window began after the moment
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

// moment is when a link was measured, as one of its two clocks saw it.
type moment struct {
	young, old time.Duration  // how long before the clock's host was asked; young may be negative
	steered    clock.Interval // steering of the clock then
}

// moments returns when a link was measured as its two clocks saw it, and false
// if one of them does not vouch for its steering since.
func (c *Cluster) moments(l *Link) (from, to moment, ok bool) {
	i, j := &c.Clocks[l.From], &c.Clocks[l.To]
	from = moment{young: l.Age - l.Took, old: l.Age}
	slack := 2 * driftOver(l.Age) // of the one clock's ages by the other
	to = moment{
		young: from.young - slack + j.Asked.Low - i.Asked.High,
		old:   from.old + slack + j.Asked.High - i.Asked.Low,
	}
	var vouched bool
	if from.steered, ok = i.steeredAt(from.young, from.old); !ok {
		return from, to, false
	}
	to.steered, vouched = j.steeredAt(to.young, to.old)
	return from, to, vouched
}

// since returns how far the clock's error has changed from the moment m until
// its host was asked.
func (c *Clock) since(m moment) clock.Interval {
	age := max(m.old, -m.young)
	return c.Steered[0].Ahead.Minus(m.steered).Widen(driftOver(age + driftOver(age)))
}

// maxOffset is an upper bound on the offsets of links that are used. Timestamps
// of NTP do not tell their era, so no clock is ever measured to be farther off.
const maxOffset = 1 << 61

// sensible reports whether a link can have been measured at all.
func (c *Cluster) sensible(l *Link) bool {
	n := len(c.Clocks)
	return 0 <= l.From && l.From < n && 0 <= l.To && l.To < n && l.From != l.To &&
		0 <= l.Took && l.Took <= l.Age && l.Age < maxAge && measurable(l.Offset)
}

// maxAge is an upper bound on the age of links that are used. It only keeps sums
// from overflowing.
const maxAge = 1 << 55

// measurable reports whether an interval has its ends in order, within ±maxOffset.
func measurable(i clock.Interval) bool {
	return -maxOffset <= i.Low && i.Low <= i.High && i.High <= maxOffset
}
