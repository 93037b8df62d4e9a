package skew

import (
	"math"
	"slices"
	"time"

	"nowd/clock"
)

// compare finds the tightest bounds on each pair of clocks of a group, and sets the
// results that follow from them. It holds the bounds of one clock at a time, not of
// all pairs.
func (g *graph) compare(r *Result) {
	ahead, behind := g.newSearch(false), g.newSearch(true)
	n := len(g.Clocks)
	lows, highs := make([]time.Duration, 0, n), make([]time.Duration, 0, n)
	for _, group := range r.Groups {
		isMajority := 2*len(group) > n
		for _, i := range group {
			ahead.from(i)
			behind.from(i)
			lows, highs = lows[:0], highs[:0]
			v := &r.Clocks[i]
			for _, j := range group {
				between := g.between(i, j, ahead.slack[j], behind.slack[j])
				lows, highs = append(lows, between.Low), append(highs, between.High)
				r.Most = max(r.Most, between.High)
				r.Least = max(r.Least, between.Low)
				if between.Disjoint(clock.Around(0, g.Threshold)) {
					v.Contradicts++
				}
				if isMajority {
					r.Detects = max(r.Detects, clock.AddSaturated(g.Threshold, clock.AddSaturated(ahead.slack[j], behind.slack[j])))
				}
			}
			// The median of values in known intervals is between the medians of the
			// intervals' ends.
			v.Offset = clock.Interval{Low: -median(highs), High: -median(lows)}
		}
	}
}

// between returns the interval of clock j minus clock i. ahead and behind are the
// slack of the shortest paths from i to j and back.
func (g *graph) between(i, j int, ahead, behind time.Duration) clock.Interval {
	apart := g.potential[j] - g.potential[i]
	bounds := clock.Interval{Low: -math.MaxInt64, High: math.MaxInt64}
	if ahead < unbounded {
		bounds.High = apart + ahead
	}
	if behind < unbounded {
		bounds.Low = apart - behind
	}
	return bounds
}

// median returns the median of values, or the lower one of two medians. It reorders
// the values.
func median(values []time.Duration) time.Duration {
	return nth(values, (len(values)-1)/2)
}

// nth returns the value at index k in sorted order. It reorders the values: the
// algorithm is quickselect.
func nth(values []time.Duration, k int) time.Duration {
	for len(values) > 16 {
		a, b, c := values[0], values[len(values)/2], values[len(values)-1]
		pivot := max(min(a, b), min(max(a, b), c))
		low, at, high := 0, 0, len(values) // below low: less than pivot; from high on: greater
		for at < high {
			switch v := values[at]; {
			case v < pivot:
				values[low], values[at] = v, values[low]
				low++
				at++
			case v > pivot:
				high--
				values[at], values[high] = values[high], v
			default:
				at++
			}
		}
		switch {
		case k < low:
			values = values[:low]
		case k >= high:
			values, k = values[high:], k-high
		default:
			return pivot
		}
	}
	slices.Sort(values)
	return values[k]
}

// witness sets Witnesses: for each clock, the links that alone prove that it
// contradicts another one.
func (g *graph) witness(r *Result) {
	within := clock.Around(0, g.Threshold)
	for _, l := range g.links {
		if !l.now.Disjoint(within) {
			continue
		}
		for _, i := range [2]int{l.From, l.To} {
			r.Clocks[i].Witnesses = append(r.Clocks[i].Witnesses, l.index)
		}
	}
}
