package skew

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"nowd/clock"
	"nowd/peers"
)

// steady are readings of a clock that is not steered.
var steady = []Steering{{0, clock.Interval{}}, {time.Hour, clock.Interval{}}}

// clocks returns the clocks of n hosts that all answer at the same moment.
func clocks(n int) []Clock {
	all := make([]Clock, n)
	for i := range all {
		all[i].Steered = steady
	}
	return all
}

// link returns a measurement with the age 0, right to within 100 µs.
func link(from, to int, offset time.Duration) Link {
	return Link{From: from, To: to, Offset: clock.Around(offset, 100*time.Microsecond)}
}

// mesh returns the links of a ring of hosts with these errors.
func mesh(errs ...time.Duration) (links []Link) {
	for i := range errs {
		for _, d := range peers.Offsets(len(errs)) {
			j := (i + d) % len(errs)
			links = append(links, link(i, j, errs[j]-errs[i]))
		}
	}
	return links
}

// named returns the clocks named as wrong, and those whose bounds are named as false.
func named(r Result) (wrong, boundFalse []int) {
	for i, v := range r.Clocks {
		if v.Wrong {
			wrong = append(wrong, i)
		}
		if v.BoundFalse {
			boundFalse = append(boundFalse, i)
		}
	}
	return wrong, boundFalse
}

func TestClockThatContradictsMostOthersIsWrong(t *testing.T) {
	r := Prove(Cluster{clocks(8), mesh(0, 0, 0, 80*ms, 0, 0, ms, 0), tolerance})
	if wrong, _ := named(r); !slices.Equal(wrong, []int{3}) {
		t.Errorf("clocks %v are named, want 3", wrong)
	}
	if v := r.Clocks[3]; v.Contradicts != 7 || len(v.Witnesses) < 4 || v.Offset.Low < 79*ms || v.Offset.High > 81*ms {
		t.Errorf("clock 3: %+v", v)
	}
	if r.Least < 79*ms || r.Least > 80*ms || r.Most < 80*ms || r.Most > 81*ms || r.Detects < tolerance || r.Detects > tolerance+ms {
		t.Errorf("wrong Least, Most or Detects: %+v", r)
	}
	if len(r.Groups) != 1 || len(r.Groups[0]) != 8 || len(r.Inconsistent) != 0 || len(r.Unused) != 0 {
		t.Errorf("want one group of 8, and all links used: %+v", r)
	}
}

func TestTieNamesNoClock(t *testing.T) {
	for _, errs := range [][]time.Duration{
		{0, 80 * ms},
		{0, 80 * ms, 160 * ms},
		{0, 0, 80 * ms, 80 * ms},
		{0, 80 * ms, 0, 80 * ms, 0, 80 * ms, 0, 80 * ms},
	} {
		r := Prove(Cluster{clocks(len(errs)), mesh(errs...), tolerance})
		if wrong, _ := named(r); len(wrong) > 0 || !r.Tie || r.Clocks[0].Contradicts == 0 {
			t.Errorf("%v: clocks %v are named, want a tie: %+v", errs, wrong, r)
		}
	}
}

// TestUnmeasuredClocksCount: if they did not count, a few wrong clocks would be a
// majority while the others cannot answer.
func TestUnmeasuredClocksCount(t *testing.T) {
	links := []Link{link(0, 1, 80*ms), link(1, 2, -80*ms), link(0, 2, 0)}
	for n, want := range map[int][]int{3: {1}, 4: {1}, 5: nil, 8: nil} {
		r := Prove(Cluster{clocks(n), links, tolerance})
		if wrong, _ := named(r); !slices.Equal(wrong, want) || r.Tie {
			t.Errorf("of %d clocks %v are named, want %v", n, wrong, want)
		}
		for i := 3; i < n; i++ {
			if r.Clocks[i].Measured() {
				t.Errorf("clock %d counts as measured", i)
			}
		}
	}
}

// TestBoundsAreComparedAsOfTheMeasurement: a clock claims ±1 ms and is off by 5 ms. It
// was measured so long ago that drift now hides the difference.
func TestBoundsAreComparedAsOfTheMeasurement(t *testing.T) {
	errs := []time.Duration{0, 0, 0, 0, 0, 5 * ms, 0, 0}
	c := Cluster{clocks(8), mesh(errs...), tolerance}
	for k := range c.Links {
		l := &c.Links[k]
		l.Age = 16 * time.Second
		l.FromClaim, l.ToClaim = Claim{ms, true}, Claim{ms, true}
	}
	r := Prove(c)
	if wrong, boundFalse := named(r); len(wrong) > 0 || !slices.Equal(boundFalse, []int{5}) {
		t.Errorf("clocks %v and the bounds of %v are named, want only the bound of 5", wrong, boundFalse)
	}
	if v := r.Clocks[5]; v.BoundDisputes != 7 || len(v.BoundWitnesses) < 4 || r.Detects < 32*ms {
		t.Errorf("clock 5: %+v", v)
	}
	for k := range c.Links { // the others claim bounds too wide to contradict
		l := &c.Links[k]
		if l.From != 5 {
			l.FromClaim.Bound = time.Second
		}
		if l.To != 5 {
			l.ToClaim.Bound = time.Second
		}
	}
	if _, boundFalse := named(Prove(c)); len(boundFalse) > 0 {
		t.Errorf("the bounds of %v are named, want none", boundFalse)
	}
}

// TestStepIsAllowedFor: a clock was stepped between two measurements. The proof
// subtracts the step, if the clock's steering history contains it.
func TestStepIsAllowedFor(t *testing.T) {
	c := Cluster{clocks(3), []Link{link(0, 1, 80*ms), link(1, 2, 0), link(0, 2, 0)}, tolerance}
	// Clock 1 was 80 ms ahead when clock 0 measured it. A second ago it was set right.
	// Then it measured clock 2.
	c.Links[0].Age = 10 * time.Second
	set := []Steering{{0, clock.Around(-80*ms, 0)}, {time.Second, clock.Interval{Low: -80 * ms}}, {2 * time.Second, clock.Around(0, 0)}, {time.Hour, clock.Around(0, 0)}}
	if r := Prove(c); len(r.Inconsistent) != 1 {
		t.Errorf("without the step: want one cycle, got %+v", r)
	}
	c.Clocks[1].Steered = set
	r := Prove(c)
	if wrong, _ := named(r); len(wrong) > 0 || len(r.Inconsistent) > 0 || r.Most > 11*ms {
		t.Errorf("with the step, want a consistent result: %+v", r)
	}
	// If nowd on the host was started five seconds ago, the link is too old.
	c.Clocks[1].Steered = []Steering{{0, clock.Interval{}}, {5 * time.Second, clock.Interval{}}}
	if r := Prove(c); !slices.Equal(r.Unused, []int{0}) || len(r.Inconsistent) > 0 || len(r.Groups) != 1 {
		t.Errorf("want link 0 unused, and one group: %+v", r)
	}
}

// TestHistoryCoversItsFirstMeasurement: a host reads its clock right before its first
// measurement. So the ages of both can be equal.
func TestHistoryCoversItsFirstMeasurement(t *testing.T) {
	c := Cluster{clocks(2), []Link{link(0, 1, 0)}, tolerance}
	c.Links[0].Age = time.Minute
	c.Clocks[0].Steered = []Steering{{0, clock.Interval{}}, {time.Minute, clock.Interval{}}}
	if r := Prove(c); len(r.Unused) > 0 {
		t.Errorf("want the link used: %+v", r)
	}
	c.Clocks[0].Steered[1].Age--
	if r := Prove(c); len(r.Unused) != 1 {
		t.Errorf("want the link unused: %+v", r)
	}
}

func TestFalseLinkIsReportedWithItsCycle(t *testing.T) {
	errs := make([]time.Duration, 12)
	c := Cluster{clocks(12), mesh(errs...), tolerance}
	lie := slices.IndexFunc(c.Links, func(l Link) bool { return l.From == 4 && l.To == 5 })
	c.Links[lie] = link(4, 5, time.Second)
	r := Prove(c)
	if len(r.Inconsistent) != 1 {
		t.Fatalf("want one cycle: %+v", r.Inconsistent)
	}
	cycle := r.Inconsistent[0]
	if !slices.Contains(cycle.Links, lie) || !slices.Contains(cycle.Clocks, 4) || !slices.Contains(cycle.Clocks, 5) || cycle.By < 990*ms || cycle.By > time.Second {
		t.Errorf("want a cycle with the false link, and By near 1 s: %+v", cycle)
	}
	if wrong, _ := named(r); len(wrong) > 0 || len(r.Groups[0]) != 12 || r.Most > 2*ms {
		t.Errorf("clocks %v are named, want none: %+v", wrong, r)
	}
}

func TestPartitionIsTwoGroups(t *testing.T) {
	var links []Link
	for i := range 8 {
		for j := range i {
			if i%2 == j%2 {
				links = append(links, link(i, j, 0))
			}
		}
	}
	r := Prove(Cluster{clocks(9), links, tolerance})
	if len(r.Groups) != 2 || !slices.Equal(r.Groups[0], []int{0, 2, 4, 6}) || !slices.Equal(r.Groups[1], []int{1, 3, 5, 7}) {
		t.Errorf("groups %v, want the even and the odd clocks", r.Groups)
	}
	if r.Clocks[8].Measured() || r.Detects != 0 {
		t.Errorf("want clock 8 not measured, and no Detects: %+v", r)
	}
}

// TestClockOfAnotherEpoch: a clock without a battery starts in 1970, and is named.
func TestClockOfAnotherEpoch(t *testing.T) {
	errs := make([]time.Duration, 20)
	errs[3], errs[7] = -57*365*24*time.Hour, 10*365*24*time.Hour
	r := Prove(Cluster{clocks(20), mesh(errs...), tolerance})
	if wrong, _ := named(r); !slices.Equal(wrong, []int{3, 7}) || len(r.Inconsistent) > 0 || len(r.Unused) > 0 {
		t.Errorf("clocks %v are named, want 3 and 7: %+v", wrong, r)
	}
}

// TestProofEndsWhateverMembersClaim uses answers with random values.
func TestProofEndsWhateverMembersClaim(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 16))
	any := func() time.Duration {
		d := time.Duration(rng.Uint64() >> rng.IntN(64))
		if rng.IntN(2) == 0 {
			d = -d
		}
		return d
	}
	between := func() clock.Interval {
		a, b := any(), any()
		if rng.IntN(10) > 0 {
			a, b = min(a, b), max(a, b)
		}
		return clock.Interval{Low: a, High: b}
	}
	for range 300 {
		n := 1 + rng.IntN(30)
		c := Cluster{Clocks: make([]Clock, n), Threshold: any()}
		for i := range c.Clocks {
			c.Clocks[i].Asked = between()
			for range rng.IntN(4) {
				c.Clocks[i].Steered = append(c.Clocks[i].Steered, Steering{any(), between()})
			}
			if rng.IntN(3) > 0 {
				c.Clocks[i] = Clock{Steered: steady}
			}
		}
		for range rng.IntN(n * n) {
			c.Links = append(c.Links, Link{
				From: rng.IntN(n), To: rng.IntN(n+1) - rng.IntN(2), Age: max(0, any()), Took: 0, Offset: between(),
				FromClaim: Claim{any(), rng.IntN(2) == 0}, ToClaim: Claim{any(), rng.IntN(2) == 0},
			})
		}
		r := Prove(c)
		g := newGraph(&c)
		g.settle()
		for _, l := range g.links {
			if p := g.potential; p[l.To]-p[l.From] > l.now.High || p[l.To]-p[l.From] < l.now.Low {
				t.Fatalf("a link is violated: %+v", l)
			}
		}
		for _, v := range r.Clocks {
			if v.Measured() && v.Offset.Low > v.Offset.High {
				t.Fatalf("the ends of an Offset are not in order: %+v", v)
			}
		}
	}
}

// BenchmarkThousandNodes measures Prove for a large cluster.
func BenchmarkThousandNodes(b *testing.B) {
	w := thousand()
	c := w.cluster(peers.Offsets(len(w.hosts)))
	b.ReportAllocs()
	for b.Loop() {
		Prove(c)
	}
}

// thousand returns a world of 1,000 hosts.
func thousand() *world {
	w := &world{rng: rand.New(rand.NewPCG(1000, 16)), least: 200e3, tail: 2, lossy: 0.01}
	for range 1000 {
		w.hosts = append(w.hosts, w.newHost(w.rng.IntN(10) == 0))
	}
	return w
}

// TestThousandNodesTakeLittleMemory limits what Prove allocates. Only the benchmark
// measures its time: a busy machine must not fail a test.
func TestThousandNodesTakeLittleMemory(t *testing.T) {
	w := thousand()
	c := w.cluster(peers.Offsets(len(w.hosts)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	r := Prove(c)
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	t.Logf("%d links in %v, with %.1f MB", len(c.Links), took, float64(allocated)/1e6)
	if len(r.Groups) != 1 || len(r.Groups[0]) != 1000 || len(r.Inconsistent) > 0 {
		t.Errorf("%d groups and %d cycles, want one group of 1000 and no cycle", len(r.Groups), len(r.Inconsistent))
	}
	if allocated > 32<<20 {
		t.Errorf("%d bytes allocated, want at most 32 MiB", allocated)
	}
}
