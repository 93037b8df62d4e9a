// Package skew proves how far apart the clocks of a cluster are, and which of
// them are wrong, from measurements of a part of the pairs. It does no I/O.
//
// # What is known
//
// Clock j minus clock i lies in a known interval [low, high] at the moment of
// each measurement: a link. Since then each of the two has drifted by MaxDrift
// at most, apart from what its host has steered it by, which the host reports.
// So each link gives an interval as of the moment at which the hosts were
// asked. Nothing else is assumed: not that a path is symmetric, not that any
// clock is right.
//
// # What follows
//
// The links are a graph of difference bounds: an edge i→j with the weight high,
// and one j→i with the weight -low. The length of the shortest path from i to j
// is the least upper bound on clock j minus clock i. A cycle of negative length
// proves that one of its links is false.
//
//   - Two clocks contradict each other if they are proven to differ by more than
//     the threshold. If more than half of all clocks are right, one that
//     contradicts more than half of the others is wrong. Where that would leave
//     no majority, there is a tie, and no clock is named.
//   - Two claimed error bounds contradict each other if they leave the two clocks
//     no common true time. Bounds are compared as of the moments of measurements,
//     so that drift does not hide a small error. The same count is made of the
//     clocks that claim one: a bound that contradicts more than half of the
//     others is false.
package skew

import (
	"time"

	"nowd/clock"
)

// Cluster is what the members of a cluster know of their clocks.
type Cluster struct {
	Clocks []Clock
	Links  []Link
	// Threshold is by how much two clocks have to differ, for certain, to
	// contradict each other.
	Threshold time.Duration
}

// Clock is a clock of the cluster. All its fields are from one answer of its
// host.
type Clock struct {
	// Asked is when the host made its answer: between these two moments, on the
	// clock of the host that asked.
	Asked clock.Interval
	// Steered is how far the clock has been steered, the newest first; the first
	// has the age 0. It is empty if the host did not answer. A measurement of this
	// clock that is older than the oldest is not used.
	Steered []Steering
}

// Steering is how far a clock has been moved by its host, by steps and by slews,
// since some fixed moment: between which values it was, from the Age of the next
// older Steering until this Age.
type Steering struct {
	Age   time.Duration // when the host was asked
	Ahead clock.Interval
}

// Link is a measurement of one clock by the host of another.
type Link struct {
	From, To int            // clocks, by their index: From's host measured To
	Age      time.Duration  // of the measurement's begin, when From's host was asked
	Took     time.Duration  // how long the measurement took
	Offset   clock.Interval // of To from From, at the moment of the measurement

	FromClaim, ToClaim Claim // at the moment of the measurement
}

// Claim is the error bound that a host claims for its clock.
type Claim struct {
	Bound time.Duration
	Known bool // whether the host claims any
}

// Result is what is proved about a cluster. It holds as of the moments at which
// the hosts were asked.
type Result struct {
	// Groups are the clocks that are connected by links, the largest group first.
	// Nothing is known between groups. A clock without links is in none.
	Groups [][]int
	// Most is an upper bound on how far any two clocks of one group differ.
	Most time.Duration
	// Least is a lower bound on how far some two clocks of one group differ.
	Least time.Duration
	// Detects is how far a clock can be off, at most, from all clocks that are
	// right without being named as wrong, while the right ones are a majority. It
	// is 0 if no group is a majority.
	Detects time.Duration

	Tie      bool // the clocks that would be wrong leave no majority, so none of them is named
	BoundTie bool // likewise those whose bounds would be false

	Clocks       []Verdict // of each clock
	Inconsistent []Cycle   // links that cannot all be true; none of them was used
	Unused       []int     // links that were not used for another reason: their clocks do not vouch for them, or they make no sense
}

// Verdict is what is proved about a clock.
type Verdict struct {
	Group int // index into Groups, -1 for a clock that is not measured
	// Offset is how far the clock is ahead of the median clock of its group. If a
	// group has an even number of clocks, the median is the one of the middle two
	// that is behind.
	Offset clock.Interval

	Wrong       bool  // whether it contradicts more than half of the others
	Contradicts int   // how many clocks it is proven to differ from by more than the threshold
	Witnesses   []int // links of the clock that contradict it by themselves, if it contradicts any

	BoundFalse     bool  // whether its claims contradict those of more than half of the others
	Claims         bool  // whether it claims a bound, in any link
	BoundDisputes  int   // how many clocks' claims contradict its own
	BoundWitnesses []int // links of the clock that prove that by themselves
}

// Measured reports whether the clock is connected to any other.
func (v *Verdict) Measured() bool { return v.Group >= 0 }

// Cycle is a cycle of links of which at least one is false.
type Cycle struct {
	Links  []int
	Clocks []int         // in the order of the cycle
	By     time.Duration // how far the cycle is from being possible
}

// Prove returns what follows from what is known of a cluster.
func Prove(c Cluster) Result {
	r := Result{Clocks: make([]Verdict, len(c.Clocks))}
	g := newGraph(&c)
	r.Inconsistent = g.settle()
	r.Unused = g.unused
	r.Groups = g.groups()
	for i := range r.Clocks {
		r.Clocks[i].Group = -1
	}
	for k, group := range r.Groups {
		for _, i := range group {
			r.Clocks[i].Group = k
		}
	}
	g.compare(&r)
	g.witness(&r)
	g.compareClaims(&r)
	r.judge()
	return r
}

// judge names the clocks that are wrong, and those whose bounds are false.
func (r *Result) judge() {
	n, claiming, wrong, boundFalse := len(r.Clocks), 0, 0, 0
	for i := range r.Clocks {
		if r.Clocks[i].Claims {
			claiming++
		}
	}
	for i := range r.Clocks {
		v := &r.Clocks[i]
		if v.Wrong = 2*v.Contradicts > n-1 && n > 1; v.Wrong {
			wrong++
		}
		if v.BoundFalse = v.Claims && 2*v.BoundDisputes > claiming-1 && claiming > 1; v.BoundFalse {
			boundFalse++
		}
	}
	r.Tie = wrong > 0 && 2*(n-wrong) <= n
	r.BoundTie = boundFalse > 0 && 2*(claiming-boundFalse) <= claiming
	for i := range r.Clocks {
		v := &r.Clocks[i]
		v.Wrong = v.Wrong && !r.Tie
		v.BoundFalse = v.BoundFalse && !r.BoundTie
	}
}
