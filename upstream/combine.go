package upstream

import (
	"cmp"
	"slices"
	"time"

	"nowd/clock"
)

// from and to are between what the true time less the clock's is, if the server
// is right.
func (s *sample) from() time.Duration { return s.Offset - s.Bound }
func (s *sample) to() time.Duration   { return s.Offset + s.Bound }

// apart reports whether s and o cannot both be right.
func (s *sample) apart(o *sample) bool { return s.to() < o.from() || o.to() < s.from() }

// combine returns what the majority of so many servers agrees upon, or nil if
// none does: the interval that most of the samples share, and more than half of
// the servers, silent ones included. Else one that lies would decide when the
// others are kept from answering. It is Marzullo's algorithm, as is RFC 5905,
// section 11.2.1; but where the most share several intervals the result has all
// of them, since the true time can be in each. What else is said is of the
// sample in it with the least bound.
func combine(samples []*sample, of int) *sample {
	type edge struct {
		at     time.Duration
		starts int // 1, or -1 where an interval ends
	}
	var edges []edge
	for _, s := range samples {
		settle(s, samples)
		edges = append(edges, edge{s.from(), 1}, edge{s.to(), -1})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(b.starts, a.starts)) // an interval has its ends
	})
	var share, most int
	var from, to time.Duration
	for i, e := range edges {
		share += e.starts
		if e.starts < 0 || share < most {
			continue
		}
		if share > most {
			most, from = share, e.at
		}
		to = edges[i+1].at // after a start that gives the most there is an end
	}
	if 2*most <= of {
		return nil
	}
	agreed := &sample{}
	agreed.Bound = (to - from + 1) / 2
	agreed.Offset = from + agreed.Bound
	var best *sample
	for _, s := range samples {
		if !s.apart(agreed) && (best == nil || s.Bound < best.Bound) {
			best = s
		}
	}
	m := best.Measurement
	m.Offset, m.Bound = agreed.Offset, agreed.Bound
	return &sample{m}
}

// drifted returns what the clock may have drifted by in d.
func drifted(d time.Duration) time.Duration { return d / (time.Second / clock.Drift) }

// settle brings a sample to the time of the last one, to which its bound has
// grown, as a clock.Measurement's does.
func settle(s *sample, samples []*sample) {
	last := s.At
	for _, o := range samples {
		if o.At.After(last) {
			last = o.At
		}
	}
	s.Bound += drifted(last.Sub(s.At))
	s.At = last
}
