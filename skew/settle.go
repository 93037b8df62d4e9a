package skew

import (
	"slices"
	"time"
)

// maxPasses bounds the work of settle. True links take a few passes.
const maxPasses = 500

// lowest is a lower bound on potentials. NTP cannot measure a larger difference.
const lowest = -1 << 62

// settle finds a potential for each clock that satisfies all links, by the algorithm
// of Bellman and Ford. At least one link of a cycle of negative length is false, so
// settle removes all links of such a cycle. It returns these cycles. Links that are
// still violated after maxPasses are removed as well, each as a cycle of its own.
func (g *graph) settle() (cycles []Cycle) {
	removed := make([]bool, len(g.links))
	parent := make([]step, len(g.Clocks)) // of each clock: the edge that lowered its potential last
	for i := range parent {
		parent[i].link = -1
	}
	for pass := 0; ; pass++ {
		changed := false
		for k := range g.links {
			if removed[k] {
				continue
			}
			l := &g.links[k]
			for _, e := range [2]edge{{l.From, l.To, l.now.High}, {l.To, l.From, -l.now.Low}} {
				p := g.potential[e.from] + e.weight
				if p >= g.potential[e.to] {
					continue
				}
				changed = true
				if p < lowest || pass >= maxPasses {
					removed[k] = true
					cycles = append(cycles, Cycle{[]int{l.index}, []int{l.From, l.To}, g.potential[e.to] - p})
					break
				}
				g.potential[e.to] = p
				parent[e.to] = step{e.from, k}
			}
		}
		if !changed {
			break
		}
		for c, ok := g.findCycle(parent); ok; c, ok = g.findCycle(parent) {
			cycles = append(cycles, g.cut(c, parent, removed))
		}
	}
	if len(cycles) > 0 {
		var kept []agedLink
		for k, l := range g.links {
			if !removed[k] {
				kept = append(kept, l)
			}
		}
		g.links = kept
		g.index()
	}
	return cycles
}

// edge is one direction of a link: weight is an upper bound on how far the clock to is
// ahead of the clock from.
type edge struct {
	from, to int
	weight   time.Duration
}

// step is an edge on a path: the clock before it, and the link.
type step struct {
	from int
	link int // -1 for none
}

// findCycle returns a clock on a cycle of parents. It returns false if there is none.
func (g *graph) findCycle(parent []step) (clock int, ok bool) {
	seen := make([]int, len(parent)) // of each clock: the number of the walk that visited it, from 1 on; 0 for none
	for i := range parent {
		for at := i; seen[at] == 0; at = parent[at].from {
			seen[at] = i + 1
			if parent[at].link < 0 {
				break
			}
			if seen[parent[at].from] == i+1 {
				return parent[at].from, true
			}
		}
	}
	return 0, false
}

// cut removes the links of a cycle of parents. clock is on the cycle.
func (g *graph) cut(clock int, parent []step, removed []bool) (c Cycle) {
	for at := clock; parent[at].link >= 0; {
		s := parent[at]
		l := &g.links[s.link]
		if s.from == l.From {
			c.By -= l.now.High
		} else {
			c.By += l.now.Low
		}
		c.Links, c.Clocks = append(c.Links, l.index), append(c.Clocks, at)
		removed[s.link] = true
		parent[at].link = -1
		at = s.from
	}
	slices.Reverse(c.Links)
	slices.Reverse(c.Clocks)
	return c
}
