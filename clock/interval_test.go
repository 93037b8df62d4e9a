package clock

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestIntervalArithmetic(t *testing.T) {
	a := Interval{-10, 20}
	for name, c := range map[string]struct {
		b, overlap, hull Interval
		disjoint         bool
	}{
		"within":  {Interval{0, 2}, Interval{0, 2}, a, false},
		"across":  {Interval{10, 40}, Interval{10, 20}, Interval{-10, 40}, false},
		"touches": {Interval{20, 40}, Interval{20, 20}, Interval{-10, 40}, false},
		"after":   {Interval{21, 40}, Interval{}, Interval{-10, 40}, true},
		"before":  {Interval{-40, -11}, Interval{}, Interval{-40, 20}, true},
	} {
		if a.Disjoint(c.b) != c.disjoint || c.b.Disjoint(a) != c.disjoint {
			t.Errorf("%s: disjoint is %v, want %v", name, a.Disjoint(c.b), c.disjoint)
		}
		if got := a.Overlap(c.b); !c.disjoint && (got != c.overlap || c.b.Overlap(a) != got) {
			t.Errorf("%s: overlap %v, want %v", name, got, c.overlap)
		}
		if got := a.Hull(c.b); got != c.hull || c.b.Hull(a) != got {
			t.Errorf("%s: hull %v, want %v", name, got, c.hull)
		}
	}
	if got := Around(5, 15); got != a || got.Middle() != 5 || got.Widen(2) != (Interval{-12, 22}) {
		t.Errorf("around 5: %v, middle %v, widened by 2: %v", got, got.Middle(), got.Widen(2))
	}
}

func TestIntervalsAddUp(t *testing.T) {
	a, b := Interval{-10, 20}, Interval{1, 3}
	if sum, difference := a.Plus(b), a.Minus(b); sum != (Interval{-9, 23}) || difference != (Interval{-13, 19}) {
		t.Errorf("sum %v, difference %v; want {-9, 23} and {-13, 19}", sum, difference)
	}
	if got := a.Negated(); got != (Interval{-20, 10}) {
		t.Errorf("negated: %v, want {-20, 10}", got)
	}
}

func TestIntervalsSaturate(t *testing.T) {
	const most = math.MaxInt64
	if got := Around(most-1, 10); got != (Interval{most - 11, most}) {
		t.Errorf("at the upper limit: %v", got)
	}
	if got := Around(1-most, 10); got != (Interval{-most, 11 - most}) {
		t.Errorf("at the lower limit: %v", got)
	}
	for _, c := range [][3]time.Duration{
		{most, most, most}, {-most, -most, -most}, {math.MinInt64, -1, -most}, {math.MinInt64, math.MinInt64, -most}, {most, -most, 0}, {most, -1, most - 1}, {1, 2, 3},
	} {
		if got := AddSaturated(c[0], c[1]); got != c[2] {
			t.Errorf("%d + %d: %d, want %d", c[0], c[1], got, c[2])
		}
	}
	if got := (Interval{-most, most}).Middle(); got > 0 {
		t.Errorf("the middle of all offsets is %v, want 0 or less", got)
	}
}

func TestMajority(t *testing.T) {
	for name, c := range map[string]struct {
		intervals []Interval
		sources   int
		want      []Interval
	}{
		"no sources":             {nil, 0, nil},
		"three silent":           {nil, 3, nil},
		"one":                    {[]Interval{{-10, 20}}, 1, []Interval{{-10, 20}}},
		"one of two answers":     {[]Interval{{-10, 20}}, 2, nil},
		"two of three answer":    {[]Interval{{0, 10}, {5, 15}}, 3, []Interval{{5, 10}}},
		"two that touch":         {[]Interval{{-10, 20}, {20, 40}}, 2, []Interval{{20, 20}}},
		"two disjoint":           {[]Interval{{-10, 20}, {22, 40}}, 2, nil},
		"two of four":            {[]Interval{{0, 4}, {2, 6}, {20, 24}, {30, 34}}, 4, nil},
		"two pairs of three":     {[]Interval{{0, 100}, {-10, 10}, {90, 110}}, 3, []Interval{{0, 10}, {90, 100}}},
		"a pair and then three":  {[]Interval{{0, 2}, {1, 3}, {10, 20}, {12, 22}, {14, 24}}, 5, []Interval{{14, 20}}},
		"three, and then a pair": {[]Interval{{10, 12}, {11, 13}, {0, 9}, {2, 9}, {4, 8}}, 5, []Interval{{4, 8}}},
		"the same, three times":  {[]Interval{{-4, 4}, {-4, 4}, {-4, 4}}, 3, []Interval{{-4, 4}}},
	} {
		if got := Majority(c.intervals, c.sources); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestMajorityIsWhereMostAgree counts the intervals at every offset, and compares.
func TestMajorityIsWhereMostAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(1305, 5905))
	const last = 60
	found := 0
	for range 20_000 {
		var intervals []Interval
		for range 1 + rng.IntN(7) {
			low := time.Duration(rng.IntN(last / 2))
			intervals = append(intervals, Interval{low, low + time.Duration(rng.IntN(last/2))})
		}
		sources := len(intervals) + rng.IntN(3)
		var counts [last + 1]int
		for _, i := range intervals {
			for at := i.Low; at <= i.High; at++ {
				counts[at]++
			}
		}
		most := slices.Max(counts[:])
		got := Majority(intervals, sources)
		if (got != nil) != (2*most > sources) {
			t.Fatalf("%v of %d sources: %v, but %d agree", intervals, sources, got, most)
		}
		if got == nil {
			continue
		}
		found++
		for at, n := range counts {
			within := 0
			for _, i := range got {
				if !i.Disjoint(Around(time.Duration(at), 0)) {
					within++
				}
			}
			if within > 1 || (within == 1) != (n == most) {
				t.Fatalf("%v: %v contains %d %d times; there %d sources agree, elsewhere at most %d", intervals, got, at, within, n, most)
			}
		}
		if !slices.IsSortedFunc(got, func(a, b Interval) int { return int(a.Low - b.Low) }) {
			t.Fatalf("%v are not in ascending order", got)
		}
	}
	if found < 1000 {
		t.Errorf("%d majorities, want at least 1000", found)
	}
}
