package skew

import (
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"nowd/clock"
	"nowd/peers"
)

// The simulation makes clusters with known clocks. Their members measure each other.
// It compares the proof with the truth.

const (
	ms       = time.Millisecond
	interval = 16 * time.Second
	rounds   = 8 // after which a link expires
	// tolerance is the threshold. A clock is right if it is off by half of it at most.
	tolerance = 10 * ms
)

// host is a simulated host. Times are true time in nanoseconds, since the moment
// at which the cluster is asked.
type host struct {
	offset  time.Duration // error at time 0
	drift   float64       // of its oscillator
	steered []steer
	asked   float64       // when it answers
	phase   float64       // from its last round until its answer
	jitter  float64       // factor on the interval of its rounds
	silent  bool          // it claims no bound
	lies    float64       // it claims its error times this as its bound; 0 for a true bound
	slack   time.Duration // between its error and a true bound
	isRight bool
}

// steer is a change of the clock by its host: a step if took is 0.
type steer struct {
	begin, took float64
	by          float64
}

// ahead returns how far the clock was steered until t.
func (h *host) ahead(t float64) (sum float64) {
	for _, s := range h.steered {
		switch {
		case t >= s.begin+s.took:
			sum += s.by
		case t > s.begin:
			sum += s.by * (t - s.begin) / s.took
		}
	}
	return sum
}

// error returns how far the clock is ahead of true time.
func (h *host) error(t float64) time.Duration {
	return h.offset + time.Duration(math.Round(h.drift*t+h.ahead(t)-h.ahead(0)))
}

// age returns the time from t to the host's answer, by its oscillator.
func (h *host) age(t float64) time.Duration {
	return time.Duration(math.Round((h.asked - t) * (1 + h.drift)))
}

// round returns when its round k was; 0 is the last one.
func (h *host) round(k int) float64 {
	return h.asked - h.phase - float64(k)*float64(interval)*h.jitter
}

func (h *host) claim(t float64) Claim {
	off := h.error(t).Abs()
	switch {
	case h.silent:
		return Claim{}
	case h.lies > 0:
		return Claim{time.Duration(float64(off) * h.lies), true}
	}
	return Claim{off + h.slack, true}
}

// world is a simulated cluster.
type world struct {
	rng   *rand.Rand
	hosts []host
	least float64 // scale of the network's delay in one direction, in nanoseconds
	tail  float64 // exponent of the delays' tail; the smaller, the heavier
	lossy float64 // share of lost datagrams
}

func newWorld(rng *rand.Rand) *world {
	n := int(3 * math.Pow(200.0/3, rng.Float64())) // as many small clusters as large ones
	w := &world{rng: rng, hosts: make([]host, n)}
	w.least = math.Exp(rng.Float64()*math.Log(1000)) * 20e3 // 20 µs to 20 ms
	w.tail = 1 + 3*rng.Float64()
	w.lossy = [...]float64{0, 0.01, 0.1, 0.3}[rng.IntN(4)]
	bad := rng.IntN((n-1)/3 + 1)
	for k, i := range rng.Perm(n) {
		w.hosts[i] = w.newHost(k < bad)
	}
	return w
}

// within returns a random duration from -d to d.
func (w *world) within(d time.Duration) time.Duration {
	return time.Duration(w.rng.Int64N(int64(2*d)+1)) - d
}

// newHost returns a random host. A bad one is off or lies about its bound.
func (w *world) newHost(bad bool) host {
	rng := w.rng
	h := host{
		drift: (2*rng.Float64() - 1) * [...]float64{5e-6, 50e-6, 500e-6}[rng.IntN(3)],
		asked: rng.Float64() * 3e8, phase: rng.Float64() * float64(interval), jitter: 0.9 + 0.2*rng.Float64(),
		silent: rng.IntN(10) == 0, slack: time.Duration(rng.Int64N(int64(3 * ms))),
	}
	for rng.IntN(3) == 0 {
		s := steer{begin: -1e9 - rng.Float64()*150e9, by: float64(w.within([...]time.Duration{ms, 50 * ms, time.Hour}[rng.IntN(3)]))}
		if math.Abs(s.by) < 1e9 && rng.IntN(2) == 0 {
			s.took = min(math.Abs(s.by)/0.08*(1+rng.Float64()), -s.begin) // chronyd slews by up to 8 %
		}
		// A clock is read once a second. It is not moved back and forth in between.
		if !slices.ContainsFunc(h.steered, func(o steer) bool { return s.begin < o.begin+o.took+2e9 && o.begin < s.begin+s.took+2e9 }) {
			h.steered = append(h.steered, s)
		}
	}
	// off is its error when it answers.
	off := w.within([...]time.Duration{100 * time.Microsecond, ms, tolerance / 2}[rng.IntN(3)])
	switch {
	case bad && rng.IntN(3) == 0:
		off, h.lies = tolerance/2-time.Duration(rng.Int64N(int64(3*ms))), 0.05+0.9*rng.Float64()
		h.silent = false
	case bad && rng.IntN(20) == 0:
		off = -time.Duration(rng.Int64N(30*365*24)) * time.Hour
	case bad:
		off = time.Duration(float64(tolerance) * math.Exp(rng.Float64()*math.Log(1e5)))
		if rng.IntN(2) == 0 {
			h.lies = rng.Float64()
		}
	}
	if rng.IntN(2) == 0 {
		off = -off
	}
	h.offset = off - (h.error(h.asked) - h.offset)
	h.isRight = h.error(h.asked).Abs() <= tolerance/2
	return h
}

// delay returns the random delay of one datagram, in nanoseconds.
func (w *world) delay() float64 {
	return w.least * (w.rng.Float64() + math.Pow(1-w.rng.Float64(), -1/w.tail))
}

// measure returns a measurement of j by i at time t. It returns false if there is no
// usable answer.
func (w *world) measure(i, j int, t float64) (l Link, ok bool) {
	from, to := &w.hosts[i], &w.hosts[j]
	least := time.Duration(math.MaxInt64)
	for range 4 {
		out, hold, back := w.delay(), 1e4+w.rng.Float64()*1e5, w.delay()
		begin := t
		if w.rng.Float64() > (1-w.lossy)*(1-w.lossy) || out+back > 1e9 {
			t += 1e9 // the timeout
			continue
		}
		at := [4]float64{t, t + out, t + out + hold, t + out + hold + back}
		t = at[3]
		// The times that the two clocks show, less the true time at the begin.
		since := func(k int) time.Duration { return time.Duration(math.Round(at[k] - begin)) }
		t1, t2, t3, t4 := from.error(at[0]), to.error(at[1])+since(1), to.error(at[2])+since(2), from.error(at[3])+since(3)
		delay := (t4 - t1) - (t3 - t2) + 2*time.Duration(math.Round(math.Abs(from.ahead(at[3])-from.ahead(at[0]))))
		if delay < 0 || delay >= least || at[3] > from.asked { // the other clock was set forward; or not the best; or too late
			continue
		}
		least, ok = delay, true
		offset := ((t2 - t1) + (t3 - t4)) / 2
		age := from.age(at[0])
		l = Link{
			From: i, To: j, Age: age, Took: age - from.age(at[3]),
			Offset:    clock.Around(offset, delay/2+time.Microsecond+2*clock.DriftOver(since(3))),
			FromClaim: from.claim(at[3]), ToClaim: to.claim(at[2]),
		}
	}
	return l, ok
}

// links returns the last measurement of each pair (i, i+d) on the ring, for the d in
// offsets.
func (w *world) links(offsets []int) (links []Link) {
	n := len(w.hosts)
	for i := range w.hosts {
		for _, d := range offsets {
			j := (i + d) % n
			for k := range rounds {
				if l, ok := w.measure(i, j, w.hosts[i].round(k)); ok {
					links = append(links, l)
					break
				}
			}
		}
	}
	return links
}

// cluster returns what the hosts report, with the measurements of links.
func (w *world) cluster(offsets []int) Cluster {
	c := Cluster{Threshold: tolerance, Links: w.links(offsets)}
	for i := range w.hosts {
		h := &w.hosts[i]
		at := []float64{h.asked}
		for k := range rounds + 4 {
			r := h.round(k)
			if late := r + 3e8; late < h.asked {
				at = append(at, late)
			}
			at = append(at, r-1e6)
		}
		k := Clock{Asked: clock.Interval{
			Low:  time.Duration(h.asked - w.rng.Float64()*1e8),
			High: time.Duration(h.asked + w.rng.Float64()*1e8),
		}}
		for m, t := range at {
			read := func(t float64) clock.Interval {
				return clock.Around(time.Duration(math.Round(h.ahead(t))), time.Duration(w.rng.IntN(2000)))
			}
			hull := read(t)
			if m+1 < len(at) { // one reading each second since the next older one
				hull = hull.Hull(read(at[m+1]))
				for s := t - 1e9; s > at[m+1] && len(h.steered) > 1; s -= 1e9 {
					hull = hull.Hull(read(s))
				}
			}
			k.Steered = append(k.Steered, Steering{h.age(t), hull})
		}
		c.Clocks = append(c.Clocks, k)
	}
	return c
}

// counts are the counts of all clusters together.
type counts struct {
	clusters, hosts int
	far, named      int // clocks that are far off, and those of them that are named as wrong
	liars, exposed  int // hosts that lie about their bound, and those of them whose bound is found to be false
	// Ratios of Most to the Most from measurements of all pairs. offsets are of
	// clusters whose clocks differ by more than the width of two links, delays of the
	// others.
	offsets, delays []float64
}

func (c *counts) add(d counts) {
	c.clusters += d.clusters
	c.hosts += d.hosts
	c.far += d.far
	c.named += d.named
	c.liars += d.liars
	c.exposed += d.exposed
	c.offsets = append(c.offsets, d.offsets...)
	c.delays = append(c.delays, d.delays...)
}

// check compares the proof about one world with the truth. With all, it also checks
// the bounds on all pairs.
func (w *world) check(t *testing.T, seed uint64, all bool) (sum counts) {
	n := len(w.hosts)
	c := w.cluster(peers.Offsets(n))
	r := Prove(c)
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("world %d of %d hosts: "+format, append([]any{seed, n}, args...)...)
	}
	if len(r.Inconsistent) > 0 || len(r.Unused) > 0 {
		fail("%d cycles and %d unused links, though all links are true: %+v", len(r.Inconsistent), len(r.Unused), r.Inconsistent)
	}
	truth := make([]time.Duration, n)
	for i := range w.hosts {
		truth[i] = w.hosts[i].error(w.hosts[i].asked)
	}
	var spread time.Duration
	for _, group := range r.Groups {
		var errs []time.Duration
		for _, i := range group {
			errs = append(errs, truth[i])
		}
		slices.Sort(errs)
		spread = max(spread, errs[len(errs)-1]-errs[0])
		middle := errs[(len(errs)-1)/2]
		for _, i := range group {
			if o := r.Clocks[i].Offset; truth[i]-middle < o.Low || truth[i]-middle > o.High {
				fail("host %d is %v ahead of the median, outside %v", i, truth[i]-middle, o)
			}
		}
	}
	if spread > r.Most || spread < r.Least {
		fail("clocks differ by %v, outside %v to %v", spread, r.Least, r.Most)
	}
	connected := len(r.Groups) == 1 && len(r.Groups[0]) == n
	for i := range w.hosts {
		h, v := &w.hosts[i], &r.Clocks[i]
		if v.Wrong && h.isRight {
			fail("host %d is right but named as wrong: off by %v, %+v", i, truth[i], *v)
		}
		if v.BoundFalse && h.lies == 0 {
			fail("host %d claims a true bound but is named: %+v", i, *v)
		}
		if connected && truth[i].Abs() > 2*r.Detects {
			sum.far++
			if v.Wrong {
				sum.named++
			}
		}
		if h.lies > 0 && !h.silent {
			sum.liars++
			if v.BoundFalse {
				sum.exposed++
			}
		}
	}
	if all {
		widest := w.checkPairs(c, r, truth, fail)
		every := make([]int, n/2)
		for d := range every {
			every[d] = d + 1
		}
		if full := Prove(w.cluster(every)); connected && len(full.Groups[0]) == n {
			ratio := float64(r.Most) / float64(full.Most)
			if spread > 2*widest {
				sum.offsets = append(sum.offsets, ratio)
				if ratio > 2 {
					fail("at most %v apart; from measurements of all pairs %v", r.Most, full.Most)
				}
			} else {
				sum.delays = append(sum.delays, ratio)
			}
			if r.Most > spread+2*widest {
				fail("at most %v apart, but the truth is %v, and no link is wider than %v", r.Most, spread, widest)
			}
		}
	}
	sum.clusters, sum.hosts = 1, n
	return sum
}

// checkPairs compares the bounds on each pair with the truth and with the widths of
// the links. It returns the width of the widest link.
func (w *world) checkPairs(c Cluster, r Result, truth []time.Duration, fail func(string, ...any)) (widest time.Duration) {
	g := newGraph(&c)
	g.settle()
	ahead, behind := g.newSearch(false), g.newSearch(true)
	for _, l := range g.links {
		widest = max(widest, l.now.High-l.now.Low)
	}
	for _, group := range r.Groups {
		for _, i := range group {
			ahead.from(i)
			behind.from(i)
			for _, j := range group {
				b := g.between(i, j, ahead.slack[j], behind.slack[j])
				if d := truth[j] - truth[i]; d < b.Low || d > b.High {
					fail("hosts %d and %d differ by %v, outside %v", i, j, d, b)
				}
				if b.High-b.Low > 2*widest { // any two are at most two links apart, even after losses
					fail("the bounds on hosts %d and %d are %v, but no link is wider than %v", i, j, b, widest)
				}
			}
		}
	}
	return widest
}

// TestProofsAreTrue simulates SKEW_CLUSTERS clusters; 100,000 of them take nearly an
// hour.
func TestProofsAreTrue(t *testing.T) {
	t.Parallel()
	clusters := 1000
	if testing.Short() {
		clusters = 200
	}
	if n, err := strconv.Atoi(os.Getenv("SKEW_CLUSTERS")); err == nil {
		clusters = n
	}
	var mu sync.Mutex
	var sum counts
	var workers sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for k := range next {
				seed := uint64(k)
				one := newWorld(rand.New(rand.NewPCG(seed, 16))).check(t, seed, k%20 == 0)
				mu.Lock()
				sum.add(one)
				mu.Unlock()
			}
		})
	}
	for k := 0; k < clusters && !t.Failed(); k++ {
		next <- k
	}
	close(next)
	workers.Wait()
	t.Logf("%d clusters with %d hosts; %d clocks far off, %d of them named; %d hosts lie about their bound, %d of them exposed", sum.clusters, sum.hosts, sum.far, sum.named, sum.liars, sum.exposed)
	for name, ratios := range map[string][]float64{"offsets": sum.offsets, "delays": sum.delays} {
		slices.Sort(ratios)
		for _, q := range []float64{0, 0.01, 0.1, 0.5, 0.9, 0.99, 1} {
			if n := len(ratios); n > 0 {
				t.Logf("%d clusters in which %s dominate, quantile %g: Most is %.3f times that from all pairs", n, name, q, ratios[int(q*float64(n-1))])
			}
		}
	}
	if sum.far < clusters/10 || float64(sum.named) < 0.999*float64(sum.far) {
		t.Errorf("%d clocks are far off, but only %d of them are named", sum.far, sum.named)
	}
}

// TestSmallLieIsFoundInALargeCluster: one clock claims ±1 ms and is off by 5 ms. The
// others are off by half a millisecond at most, and claim a true bound. Between two
// rounds clocks may drift by more than the lie.
func TestSmallLieIsFoundInALargeCluster(t *testing.T) {
	for _, n := range []int{3, 8, 20, 100, 300} {
		for seed := range uint64(5) {
			w := &world{rng: rand.New(rand.NewPCG(seed, uint64(n))), least: 200e3, tail: 3, lossy: 0.01}
			for range n {
				h := host{drift: (2*w.rng.Float64() - 1) * 50e-6, asked: w.rng.Float64() * 3e8, phase: w.rng.Float64() * float64(interval), jitter: 1, slack: ms / 2}
				h.offset = w.within(ms/2) - (h.error(h.asked) - h.offset)
				w.hosts = append(w.hosts, h)
			}
			const liar = 2
			h := &w.hosts[liar]
			h.lies = 0.2
			h.offset += 5*ms - h.error(h.asked)
			r := Prove(w.cluster(peers.Offsets(n)))
			for i, v := range r.Clocks {
				if v.BoundFalse != (i == liar) || v.Wrong {
					t.Errorf("%d hosts, seed %d: host %d disputes %d bounds, bound false %v, wrong %v, %+v", n, seed, i, v.BoundDisputes, v.BoundFalse, v.Wrong, v.Offset)
				}
			}
		}
	}
}
