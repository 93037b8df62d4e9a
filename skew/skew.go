// Package skew proves how far apart the clocks of a cluster are, and which clocks are
// wrong. It needs measurements of some of the pairs only. It does no I/O.
//
// # Assumptions
//
// A link is a measurement of clock j by the host of clock i. At that moment, clock j
// minus clock i lies in the interval [low, high]. Since then each clock has drifted
// by clock.MaxDrift per second at most, apart from its steering, which its host
// reports. So each link gives an interval as of the hosts' answers. The proof does
// not assume that network paths are symmetric, or that any clock is right.
//
// # Proof
//
// The links form a graph of difference bounds: an edge i→j with the weight high,
// and an edge j→i with the weight -low. The length of the shortest path from i to j
// is the least upper bound on clock j minus clock i. A cycle of negative length
// proves that one of its links is false.
//
//   - Two clocks contradict each other if they are proven to differ by more than
//     the threshold. A clock that contradicts more than half of the others is
//     wrong, provided that more than half of all clocks are right. If naming the
//     wrong clocks would leave no majority, there is a tie, and none is named.
//   - Two claimed error bounds contradict each other if no true time satisfies
//     both. They are compared as of the moments of measurements, so that drift
//     does not hide a small error. A claim that contradicts those of more than half
//     of the other claiming clocks is false, with the same proviso and tie.
package skew

import (
	"time"

	"nowd/clock"
)

// Cluster is what the hosts of a cluster report.
type Cluster struct {
	Clocks []Clock
	Links  []Link
	// Threshold is by how much two clocks must at least differ, provably, to
	// contradict each other.
	Threshold time.Duration
}

// Clock is a clock of the cluster. All its fields are from one answer of its host.
type Clock struct {
	// Asked contains the moment at which the host made its answer, by the clock of
	// the host that asked.
	Asked clock.Interval
	// Steered is the history of the clock's steering, the newest first. The first
	// has the age 0. Steered is empty if the host did not answer. A measurement
	// with this clock that is older than the oldest Steering is not used.
	Steered []Steering
}

// Steering is how far a host has moved its clock, by steps and by slews, since some
// fixed moment. Ahead contains all values from the Age of the next older Steering to
// this Age.
type Steering struct {
	Age   time.Duration // as of the host's answer
	Ahead clock.Interval
}

// Link is a measurement of one clock by the host of another.
type Link struct {
	From, To int            // indexes of clocks: From's host measured To
	Age      time.Duration  // since the begin of the measurement, as of the answer of From's host
	Took     time.Duration  // how long the measurement took
	Offset   clock.Interval // of To from From, at the moment of the measurement

	FromClaim, ToClaim Claim // at the moment of the measurement
}

// Claim is the error bound that a host claims for its clock.
type Claim struct {
	Bound time.Duration
	Known bool // false if the host claims no bound
}

// Result is what is proved about a cluster, as of the hosts' answers.
type Result struct {
	// Groups are the groups of clocks that are connected by links, the largest
	// first. Clocks of different groups cannot be compared. A clock without links
	// is in no group.
	Groups [][]int
	// Most is an upper bound on how far any two clocks of one group differ.
	Most time.Duration
	// Least is a lower bound on the largest difference of two clocks of one group.
	Least time.Duration
	// Detects is an upper bound on how far a clock that is not named as wrong can be
	// off from all clocks that are right, while these are a majority. It is 0 if no
	// group is a majority.
	Detects time.Duration

	Tie      bool // naming the wrong clocks would leave no majority, so none is named
	BoundTie bool // naming the false bounds would leave no majority, so none is named

	Clocks       []Verdict // of each clock
	Inconsistent []Cycle   // links that cannot all be true; none of them was used
	Unused       []int     // links that are invalid, or older than the steering history of one of their clocks; they were not used
}

// Verdict is what is proved about a clock.
type Verdict struct {
	Group int // index into Groups; -1 for a clock that is not measured
	// Offset is how far the clock is ahead of the median clock of its group. If the
	// number of clocks is even, the median is the one of the middle two that is
	// behind.
	Offset clock.Interval

	Wrong       bool  // it contradicts more than half of the others
	Contradicts int   // number of clocks that it provably differs from by more than the threshold
	Witnesses   []int // links of the clock that alone prove a contradiction

	BoundFalse     bool  // its claims contradict those of more than half of the others
	Claims         bool  // it claims a bound, in any link
	BoundDisputes  int   // number of clocks whose claims contradict its own
	BoundWitnesses []int // links of the clock that alone prove that claims contradict
}

// Measured reports whether the clock is connected to any other one.
func (v *Verdict) Measured() bool { return v.Group >= 0 }

// Cycle is a cycle of links of which at least one is false.
type Cycle struct {
	Links  []int
	Clocks []int         // in the order of the cycle
	By     time.Duration // how far the cycle is from being possible
}

// Prove returns what follows from the reports of a cluster's hosts.
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
