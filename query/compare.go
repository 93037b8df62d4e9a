package query

import "time"

// Verdict says whether the clocks of several hosts can all be right.
type Verdict struct {
	NoAnswer    []int // the hosts that did not answer
	NoTime      []int // those whose answers cannot be compared
	Disagree    []int // those that must be wrong; without a Majority, those of which at least one must be
	HasMajority bool  // whether more than half of those compared agree with each other
	Majority    Interval
}

// Agree reports whether no host disagrees.
func (v *Verdict) Agree() bool { return len(v.Disagree) == 0 }

// Compare compares the Intervals of the answers. All can be right if they have a
// moment in common. If they have not, the moments that most of them hold are
// taken for right, as RFC 5905, section 11.2.1 does, provided that these are
// more than half: the others disagree. If there is no such majority, or it could
// be one as well as another, every host disagrees whose interval does not
// overlap with each other's.
func Compare(results []Result) Verdict {
	var v Verdict
	var intervals []Interval
	var hosts []int // of each interval
	for i, r := range results {
		if r.Err != nil {
			v.NoAnswer = append(v.NoAnswer, i)
		} else if interval, ok := r.Answer.Interval(); ok {
			intervals, hosts = append(intervals, interval), append(hosts, i)
		} else {
			v.NoTime = append(v.NoTime, i)
		}
	}
	best, rivals, most := Interval{}, 0, 0
	for _, a := range intervals {
		// What most of them hold begins where one of them does.
		held, count := Interval{a.Low, a.High}, 0
		for _, b := range intervals {
			if b.Low <= a.Low && a.Low <= b.High {
				held.High, count = min(held.High, b.High), count+1
			}
		}
		switch {
		case count > most:
			best, most, rivals = held, count, 0
		case count == most && held != best:
			rivals++
		}
	}
	v.HasMajority = most > len(intervals)/2 && rivals == 0
	if v.HasMajority {
		v.Majority = best
	}
	for i, a := range intervals {
		wrong := false
		if v.HasMajority {
			wrong = !a.overlaps(best)
		} else {
			for _, b := range intervals {
				wrong = wrong || !a.overlaps(b)
			}
		}
		if wrong {
			v.Disagree = append(v.Disagree, hosts[i])
		}
	}
	return v
}

func (a Interval) overlaps(b Interval) bool { return a.Low <= b.High && b.Low <= a.High }

// Mutual returns how far the clock of a is ahead of that of b, and false if one
// of them cannot be compared.
func Mutual(a, b Result) (time.Duration, bool) {
	if a.Err != nil || b.Err != nil || a.Answer.Time.IsZero() || b.Answer.Time.IsZero() {
		return 0, false
	}
	return add(a.Answer.Offset, -b.Answer.Offset), true
}
