package skew

import "time"

// unbounded is the slack of a clock that no path leads to. Adding a reduced weight to
// it does not overflow.
const unbounded = time.Duration(1) << 60

// search finds the shortest paths from a clock by Dijkstra's algorithm. It uses
// reduced weights, which the potentials make non-negative. It can be used for one
// clock after another without allocating.
type search struct {
	arcs  [][]reducedArc  // of each clock
	slack []time.Duration // of each clock: the length of the shortest path to it, by reduced weights
	heap  []reached
	place []int32 // of each clock: its index in heap; -1 if it is not there
}

// reducedArc is an arc with its reduced weight, which is never negative.
type reducedArc struct {
	weight time.Duration
	to     int32
}

// reached is a clock that a path leads to.
type reached struct {
	slack time.Duration
	clock int32
}

// newSearch returns a search along the edges, or against them.
func (g *graph) newSearch(against bool) *search {
	n := len(g.Clocks)
	s := &search{arcs: make([][]reducedArc, n), slack: make([]time.Duration, n), place: make([]int32, n)}
	all := make([]reducedArc, 0, len(g.arcs))
	for i := range n {
		begin := len(all)
		for _, a := range g.arcsOf(i) {
			ahead := g.potential[a.to] - g.potential[i]
			if against {
				all = append(all, reducedArc{a.in + ahead, a.to})
			} else {
				all = append(all, reducedArc{a.out - ahead, a.to})
			}
		}
		s.arcs[i] = all[begin:]
	}
	return s
}

// from finds the shortest paths from a clock; if the search is against the edges, the
// shortest paths to it. Then it drops the clock's arcs that are longer than the
// shortest path, because no later search needs them.
func (s *search) from(source int) {
	for i := range s.slack {
		s.slack[i], s.place[i] = unbounded, -1
	}
	s.slack[source] = 0
	s.push(reached{0, int32(source)})
	for len(s.heap) > 0 {
		near := s.pop()
		for _, a := range s.arcs[near.clock] {
			d := near.slack + a.weight
			if d >= s.slack[a.to] {
				continue
			}
			s.slack[a.to] = d
			if at := s.place[a.to]; at < 0 {
				s.push(reached{d, a.to})
			} else {
				s.up(at, reached{d, a.to})
			}
		}
	}
	useful := s.arcs[source][:0]
	for _, a := range s.arcs[source] {
		if a.weight <= s.slack[a.to] {
			useful = append(useful, a)
		}
	}
	s.arcs[source] = useful
}

// arity is how many children an entry of the heap has.
const arity = 4

func (s *search) push(r reached) {
	s.heap = append(s.heap, r)
	s.up(int32(len(s.heap)-1), r)
}

// pop removes the nearest clock.
func (s *search) pop() reached {
	top := s.heap[0]
	s.place[top.clock] = -1
	last := s.heap[len(s.heap)-1]
	if s.heap = s.heap[:len(s.heap)-1]; len(s.heap) > 0 {
		s.down(last)
	}
	return top
}

// up moves an entry towards the root, from index at to its place in the heap.
func (s *search) up(at int32, r reached) {
	for at > 0 {
		parent := (at - 1) / arity
		p := s.heap[parent]
		if p.slack <= r.slack {
			break
		}
		s.heap[at], s.place[p.clock] = p, at
		at = parent
	}
	s.heap[at], s.place[r.clock] = r, at
}

// down moves an entry from the root to its place in the heap.
func (s *search) down(r reached) {
	at := int32(0)
	for {
		first := at*arity + 1
		best, least := int32(-1), r.slack
		for c := first; c < min(first+arity, int32(len(s.heap))); c++ {
			if d := s.heap[c].slack; d < least {
				best, least = c, d
			}
		}
		if best < 0 {
			break
		}
		s.heap[at] = s.heap[best]
		s.place[s.heap[at].clock] = at
		at = best
	}
	s.heap[at], s.place[r.clock] = r, at
}
