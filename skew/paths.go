package skew

import "time"

// unbounded is a slack that says nothing. The sum of one and of a reduced weight
// does not overflow.
const unbounded = time.Duration(1) << 60

// search finds the shortest paths from one clock after the other: the algorithm
// of Dijkstra, on weights that the potentials have made positive. Its memory is
// used again for each.
type search struct {
	start []int32
	arcs  []reducedArc

	// slack[v] is the length of the shortest path to v, by reduced weights.
	slack []time.Duration
	heap  []int32 // clocks that are still to be left, the nearest first
	place []int32 // of each clock in heap; -1 if it is not there
}

// reducedArc is an arc with reduced weights. They are never negative.
type reducedArc struct {
	to     int32
	weight time.Duration
}

// newSearch returns a search along the edges, or against them.
func (g *graph) newSearch(against bool) *search {
	n := len(g.Clocks)
	s := &search{start: g.start, arcs: make([]reducedArc, len(g.arcs)), slack: make([]time.Duration, n), place: make([]int32, n)}
	for i := range n {
		for k := g.start[i]; k < g.start[i+1]; k++ {
			a := g.arcs[k]
			ahead := g.potential[a.to] - g.potential[i]
			if against {
				s.arcs[k] = reducedArc{a.to, a.in + ahead}
			} else {
				s.arcs[k] = reducedArc{a.to, a.out - ahead}
			}
		}
	}
	return s
}

// from finds the shortest paths from a clock, or to it.
func (s *search) from(source int) {
	for i := range s.slack {
		s.slack[i], s.place[i] = unbounded, -1
	}
	s.slack[source] = 0
	s.push(int32(source))
	for len(s.heap) > 0 {
		u := s.pop()
		near := s.slack[u]
		for _, a := range s.arcs[s.start[u]:s.start[u+1]] {
			if d := near + a.weight; d < s.slack[a.to] {
				s.slack[a.to] = d
				if s.place[a.to] < 0 {
					s.push(a.to)
				} else {
					s.up(s.place[a.to])
				}
			}
		}
	}
}

// The heap has four children for each parent.
const arity = 4

func (s *search) push(v int32) {
	s.heap = append(s.heap, v)
	s.place[v] = int32(len(s.heap) - 1)
	s.up(s.place[v])
}

func (s *search) pop() int32 {
	top := s.heap[0]
	last := len(s.heap) - 1
	s.heap[0] = s.heap[last]
	s.heap = s.heap[:last]
	s.place[top] = -1
	if last > 0 {
		s.place[s.heap[0]] = 0
		s.down()
	}
	return top
}

func (s *search) up(at int32) {
	v := s.heap[at]
	for at > 0 {
		parent := (at - 1) / arity
		p := s.heap[parent]
		if s.slack[p] <= s.slack[v] {
			break
		}
		s.heap[at], s.place[p] = p, at
		at = parent
	}
	s.heap[at], s.place[v] = v, at
}

func (s *search) down() {
	v, at := s.heap[0], int32(0)
	for {
		best, least := int32(-1), s.slack[v]
		for c := at*arity + 1; c <= at*arity+arity && int(c) < len(s.heap); c++ {
			if d := s.slack[s.heap[c]]; d < least {
				best, least = c, d
			}
		}
		if best < 0 {
			break
		}
		s.heap[at] = s.heap[best]
		s.place[s.heap[at]] = at
		at = best
	}
	s.heap[at], s.place[v] = v, at
}
