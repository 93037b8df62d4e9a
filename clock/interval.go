package clock

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Interval is a range of offsets, ends included. An offset is that of true time
// from a clock, or of one clock from another. The methods saturate at
// ±math.MaxInt64.
type Interval struct{ Low, High time.Duration }

// Around returns the interval of offset ± bound.
func Around(offset, bound time.Duration) Interval { return Interval{offset, offset}.Widen(bound) }

// Disjoint reports whether i and j have no offset in common.
func (i Interval) Disjoint(j Interval) bool { return i.High < j.Low || j.High < i.Low }

// Overlap returns the interval that i and j have in common. They must not be
// Disjoint.
func (i Interval) Overlap(j Interval) Interval {
	return Interval{max(i.Low, j.Low), min(i.High, j.High)}
}

// Hull returns the shortest interval that contains both i and j.
func (i Interval) Hull(j Interval) Interval {
	return Interval{min(i.Low, j.Low), max(i.High, j.High)}
}

// Widen returns i with both ends moved outward by d.
func (i Interval) Widen(d time.Duration) Interval {
	return Interval{AddSaturated(i.Low, -d), AddSaturated(i.High, d)}
}

// Plus returns the interval of the sums of an offset in i and one in j.
func (i Interval) Plus(j Interval) Interval {
	return Interval{AddSaturated(i.Low, j.Low), AddSaturated(i.High, j.High)}
}

// Minus returns the interval of the differences of an offset in i and one in j.
func (i Interval) Minus(j Interval) Interval { return i.Plus(j.Negated()) }

// Negated returns the interval of the offsets in i with the opposite sign.
func (i Interval) Negated() Interval { return Interval{-i.High, -i.Low} }

// Middle returns the offset halfway between the ends, rounded down.
func (i Interval) Middle() time.Duration {
	return i.Low + AddSaturated(i.High, -i.Low)/2
}

// AddSaturated returns a+b, or ±math.MaxInt64 where the sum does not fit into a
// Duration. The limits are symmetric, so a result can be negated.
func AddSaturated(a, b time.Duration) time.Duration {
	sum := a + b
	if (a^sum)&(b^sum) >= 0 { // the sum has the sign of one of them
		return sum
	}
	if a < 0 {
		return -math.MaxInt64
	}
	return math.MaxInt64
}

// Majority returns the offsets on which the most sources agree, as disjoint
// intervals in ascending order. intervals has the claim of each source that makes
// one. sources is the number of all sources, silent ones included. Unless more
// than half of all sources agree, there is no majority, and the result is nil.
//
// It is Marzullo's algorithm: RFC 5905, section 11.2.1. The RFC also looks at the
// middles of the intervals, to choose between servers. Majority does not.
func Majority(intervals []Interval, sources int) []Interval {
	type edge struct {
		at    time.Duration
		delta int // 1 where an interval begins, -1 where it ends
	}
	edges := make([]edge, 0, 2*len(intervals))
	for _, i := range intervals {
		edges = append(edges, edge{i.Low, 1}, edge{i.High, -1})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.delta, a.delta)) // an interval contains its ends
	})
	var shared []Interval
	var count, most int
	for n, e := range edges {
		count += e.delta
		if e.delta < 0 || count < most {
			continue
		}
		if count > most {
			most, shared = count, shared[:0]
		}
		shared = append(shared, Interval{e.at, edges[n+1].at}) // the count is highest here, so the next edge is an end
	}
	if 2*most <= sources {
		return nil
	}
	return shared
}
