package query

import (
	"slices"
	"time"

	"nowd/clock"
)

// Verdict says whether the clocks of several hosts can all be right. Hosts are indices into
// the results.
type Verdict struct {
	NoAnswer      []int          // hosts that did not answer
	NotComparable []int          // hosts whose answers have no time that can be compared
	Disagree      []int          // falsetickers; without a majority, hosts of which at least one is wrong
	HasMajority   bool           // more than half of the compared hosts agree
	Majority      clock.Interval // the offsets on which they agree, if HasMajority
}

// Agree reports whether no host disagrees.
func (v *Verdict) Agree() bool { return len(v.Disagree) == 0 }

// Compare compares the Intervals of the answers. The hosts agree if all intervals have an
// offset in common. Otherwise Compare looks for the offsets that most intervals have in
// common (RFC 5905, section 11.2.1). If these intervals are more than half, and the offsets
// form one interval, the other hosts disagree. Without such a majority, every host disagrees
// whose interval is disjoint from another's.
func Compare(results []Result) Verdict {
	var v Verdict
	var intervals []clock.Interval
	var hosts []int // of each interval
	for i, r := range results {
		if r.Err != nil {
			v.NoAnswer = append(v.NoAnswer, i)
		} else if interval, ok := r.Answer.Interval(); ok {
			intervals, hosts = append(intervals, interval), append(hosts, i)
		} else {
			v.NotComparable = append(v.NotComparable, i)
		}
	}
	against := intervals // a host disagrees if its interval is disjoint from one of these
	if shared := clock.Majority(intervals, len(intervals)); len(shared) == 1 {
		v.HasMajority, v.Majority = true, shared[0]
		against = shared
	}
	for i, interval := range intervals {
		if slices.ContainsFunc(against, interval.Disjoint) {
			v.Disagree = append(v.Disagree, hosts[i])
		}
	}
	return v
}

// offsetBetween returns how far the clock of a is ahead of b's. It returns false
// if one of them cannot be compared.
func offsetBetween(a, b Result) (time.Duration, bool) {
	if a.Err != nil || b.Err != nil || a.Answer.Time.IsZero() || b.Answer.Time.IsZero() {
		return 0, false
	}
	return clock.AddSaturated(a.Answer.Offset, -b.Answer.Offset), true
}
