package skew

import (
	"slices"
	"time"

	"nowd/clock"
)

// graph is the graph of difference bounds of the clocks, as of their hosts' answers.
type graph struct {
	*Cluster
	links  []agedLink
	unused []int

	// The arcs of clock i are arcs[start[i]:start[i+1]]. index makes both.
	start []int32
	arcs  []arc

	// potential[i] is a possible time of clock i. Together they satisfy all links.
	potential []time.Duration
}

// agedLink is a link that is used, with its offset as of the hosts' answers.
type agedLink struct {
	*Link
	index            int // in Cluster.Links
	fromWhen, toWhen moment
	now              clock.Interval // offset of To from From, as of their hosts' answers
}

// arc is a link, from one of its clocks.
type arc struct {
	to   int32         // the other clock
	link int32         // index into graph.links
	out  time.Duration // weight of the edge to the other clock
	in   time.Duration // weight of the edge from it
}

// newGraph returns the graph of the usable links.
func newGraph(c *Cluster) *graph {
	g := &graph{Cluster: c, potential: make([]time.Duration, len(c.Clocks))}
	for k := range c.Links {
		l := &c.Links[k]
		if aged, ok := c.age(l, k); ok {
			g.links = append(g.links, aged)
		} else {
			g.unused = append(g.unused, k)
		}
	}
	g.index()
	return g
}

// age converts the offset of a link from the moment of the measurement to the hosts'
// answers. It returns false if the link cannot be used.
func (c *Cluster) age(l *Link, index int) (agedLink, bool) {
	if !c.valid(l) {
		return agedLink{}, false
	}
	from, to, ok := c.moments(l)
	if !ok {
		return agedLink{}, false
	}
	now := l.Offset.Plus(c.Clocks[l.To].since(to)).Minus(c.Clocks[l.From].since(from))
	return agedLink{l, index, from, to, now}, measurable(now)
}

// index makes start and arcs.
func (g *graph) index() {
	n := len(g.Clocks)
	g.start = make([]int32, n+1)
	for _, l := range g.links {
		g.start[l.From+1]++
		g.start[l.To+1]++
	}
	for i := range n {
		g.start[i+1] += g.start[i]
	}
	g.arcs = make([]arc, 2*len(g.links))
	next := slices.Clone(g.start)
	for k, l := range g.links {
		high, low := l.now.High, -l.now.Low
		g.arcs[next[l.From]] = arc{to: int32(l.To), link: int32(k), out: high, in: low}
		g.arcs[next[l.To]] = arc{to: int32(l.From), link: int32(k), out: low, in: high}
		next[l.From]++
		next[l.To]++
	}
}

func (g *graph) arcsOf(i int) []arc { return g.arcs[g.start[i]:g.start[i+1]] }

// groups returns the groups of connected clocks, the largest first.
func (g *graph) groups() (groups [][]int) {
	seen := make([]bool, len(g.Clocks))
	for i := range g.Clocks {
		if seen[i] || len(g.arcsOf(i)) == 0 {
			continue
		}
		seen[i] = true
		group := []int{i}
		for k := 0; k < len(group); k++ {
			for _, a := range g.arcsOf(group[k]) {
				if !seen[a.to] {
					seen[a.to] = true
					group = append(group, int(a.to))
				}
			}
		}
		slices.Sort(group)
		groups = append(groups, group)
	}
	slices.SortStableFunc(groups, func(a, b []int) int { return len(b) - len(a) })
	return groups
}
