package guard

import (
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var victim = netip.MustParseAddr("192.0.2.7")

// spoofed returns address i of 2^24.
func spoofed(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// limited returns Sources with a rate limit for each source. Their runs are too long
// to end in a test.
func limited(perSecond, burst int) *Sources {
	return NewSources(Limits{PerSecond: perSecond, Burst: burst, LongestRun: 1e9})
}

// ask reports whether a datagram from src is answered.
func (s *Sources) ask(src netip.Addr, now time.Duration) bool {
	return s.judge(netip.AddrPortFrom(src, 40000), now) == Pass
}

// askOften sends n datagrams from src, spread over d, and returns how many were
// answered.
func (s *Sources) askOften(src netip.Addr, from, d time.Duration, n int) (answered int) {
	for i := range n {
		if s.ask(src, from+d*time.Duration(i)/time.Duration(n)) {
			answered++
		}
	}
	return answered
}

func TestSourceWithinItsRateIsAlwaysAnswered(t *testing.T) {
	s := limited(100, 20)
	if got := s.askOften(victim, 0, 10*time.Second, 1000); got != 1000 {
		t.Errorf("%d of 1000 answered at the rate, want all", got)
	}
	if got := s.askOften(victim, 20*time.Second, 0, 20); got != 20 {
		t.Errorf("%d of a burst of 20 answered, want all", got)
	}
}

func TestSourceOverItsRateIsAnsweredAtIt(t *testing.T) {
	s := limited(100, 20)
	const n = 100000
	got := s.askOften(victim, 0, 10*time.Second, n)
	if want := 100*10 + 20; got < want || got > want+20/4 {
		t.Errorf("%d of %d answered, want %d and a quarter of the burst at most", got, n, want)
	}
	if got := s.askOften(netip.MustParseAddr("192.0.2.8"), 10*time.Second, 0, 20); got != 20 {
		t.Errorf("another source: %d of 20 answered, want all", got)
	}
}

func TestBurstOfASourceIsItsBurstAndAQuarter(t *testing.T) {
	for _, burst := range []int{1, 2, 5, 100, 4000} {
		s := limited(1000, burst)
		quarter := (burst + 2) / 4 // of burst - 1, rounded up
		if got := s.askOften(victim, 0, 0, 100*burst); got < burst || got > burst+quarter {
			t.Errorf("%d answers at once, want %d and a quarter at most", got, burst)
		}
	}
}

func TestIPv6IsLimitedByNetwork(t *testing.T) {
	s := limited(1, 1)
	a, same, other := netip.MustParseAddr("2001:db8:0:1::1"), netip.MustParseAddr("2001:db8:0:1:ffff::2"), netip.MustParseAddr("2001:db8:0:2::1")
	if Source(a) != Source(same) || Source(a) == Source(other) {
		t.Error("IPv6 keys are not by /64")
	}
	if !s.ask(a, 0) || !s.ask(other, 0) {
		t.Error("the first question of a network was not answered")
	}
	if got := s.askOften(same, 0, 0, 4000); got != 0 {
		t.Errorf("%d of 4000 answered, want none over the limit", got)
	}
}

// TestSpoofedSourcesSilenceNoClient: datagrams from a million spoofed sources evict
// entries all the time. A source that asks rarely is still always answered, and one
// over its limit is still limited.
func TestSpoofedSourcesSilenceNoClient(t *testing.T) {
	s := limited(2000, 4000)
	heavy := netip.MustParseAddr("198.51.100.1")
	s.askOften(heavy, 0, 0, 20000)
	honest, given := 0, 0
	const flood, each, often = 1 << 20, 1000, 100
	for i := range flood {
		now := time.Duration(i) * time.Microsecond // a million a second
		s.ask(spoofed(i), now)
		if i%each == 0 {
			if s.ask(victim, now) {
				honest++
			}
		}
		if i%often == 0 && s.ask(heavy, now) { // five times its rate
			given++
		}
	}
	if tries := flood/each + 1; honest != tries {
		t.Errorf("the source that asks rarely: %d of %d answered, want all", honest, tries)
	}
	if want := 2000*flood/1_000_000 + 4000/4; given > want {
		t.Errorf("the source over its limit: %d answers, want %d at most", given, want)
	}
}

// flood is a flood of datagrams that spoof a victim's address.
type flood struct {
	name string
	// next returns the time of the datagram after the one at last, for a mean rate in
	// datagrams a second.
	next func(last time.Duration, rate float64) time.Duration
}

// inBunches returns the next of a flood in perSecond bunches a second.
func inBunches(perSecond int) func(time.Duration, float64) time.Duration {
	sent := 0
	return func(last time.Duration, rate float64) time.Duration {
		if sent++; sent < int(rate)/perSecond {
			return last
		}
		sent = 0
		return last + time.Second/time.Duration(perSecond)
	}
}

// floods returns floods of which a token bucket without chance would answer very
// different shares.
func floods(random *rand.Rand) []flood {
	return []flood{
		{"evenly", func(last time.Duration, rate float64) time.Duration {
			return last + time.Duration(float64(time.Second)/rate)
		}},
		{"at random", func(last time.Duration, rate float64) time.Duration {
			return last + time.Duration(random.ExpFloat64()*float64(time.Second)/rate)
		}},
		{"100 times a second", inBunches(100)},
		{"10 times a second", inBunches(10)},
	}
}

// chance returns the probability that the next question of src is answered.
func (s *Sources) chance(src netip.Addr, now time.Duration) float64 {
	l, source := s.limiter, Source(src)
	for _, e := range l.sets[maphash.Comparable(s.seed, source)%numSets] {
		if e.source == source {
			over := max(0, e.tat-int64(now)-l.tolerance)
			return max(0, 1-float64(over)/float64(l.reserve))
		}
	}
	return 1
}

// TestVictimOfASpoofedFloodIsAnsweredInTwoTries: a sender floods nowd with a victim's
// spoofed address. The victim itself asks once or 10 times a second, and asks again if
// it is not answered. If the flood is at most 7 times the limit, one of the two tries is
// answered with a probability of at least 1/4. In any flood, the victim gets no more
// answers than the limit allows.
func TestVictimOfASpoofedFloodIsAnsweredInTwoTries(t *testing.T) {
	const limit, burst = 2000, 4000
	random := rand.New(rand.NewPCG(1, 2))
	for _, rate := range []float64{100, 1000, 2000, 4000, 8000, 7 * limit, 20_000, 50_000, 100_000} {
		questions := 50
		if rate > 7*limit { // fewer, because there are many datagrams for each
			questions = 10
		}
		for _, own := range []int{1, 10} {
			worst, least := "", 1.0
			for _, f := range floods(random) {
				s := limited(limit, burst)
				s.limiter.random = rand.NewChaCha8([32]byte{}) // the same in each test run
				const settled = 5 * time.Second                // after which the burst is used up
				var next, now time.Duration
				sent, inTwo, before := 0, 0.0, 0.0
				for asked := 0; asked < questions; {
					// At random times, so that a flood cannot keep in step.
					now += time.Duration((0.5 + random.Float64()) / float64(own) * float64(time.Second))
					for ; next <= now; next = f.next(next, rate) {
						if s.ask(victim, next) {
							sent++
						}
					}
					chance := s.chance(victim, now)
					if s.ask(victim, now) {
						sent++
					}
					if now > settled {
						asked++
						inTwo += 1 - (1-chance)*(1-before)
					}
					before = chance
				}
				if share := inTwo / float64(questions); share < least {
					worst, least = f.name, share
				}
				if most := limit*int(now/time.Second+1) + burst*5/4; sent > most {
					t.Errorf("%v a second, %s: %d answers in %v, want %d at most", rate, f.name, sent, now, most)
				}
			}
			t.Logf("flood of %6.0f a second, %2d questions a second: one of two tries is answered with a probability of %.3f (%s)", rate, own, least, worst)
			if rate < limit && least < 1 || rate <= 7*limit && least < 0.25 {
				t.Errorf("%v a second, %s: one of two tries is answered with a probability of %.3f", rate, worst, least)
			}
		}
	}
}

func TestSourcesAllocateNothing(t *testing.T) {
	s := NewSources(Limits{PerSecond: 1, Burst: 1, LongestRun: 2})
	if n := testing.AllocsPerRun(1000, func() { s.ask(victim, 0) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkSources(b *testing.B) {
	b.Run("one source", func(b *testing.B) {
		s := limited(1e9, 1e9)
		for i := 0; b.Loop(); i++ {
			s.ask(victim, time.Duration(i))
		}
	})
	b.Run("over its limit", func(b *testing.B) {
		s := limited(1, 1)
		for b.Loop() {
			s.ask(victim, 0)
		}
	})
	b.Run("many sources", func(b *testing.B) {
		s := limited(2000, 4000)
		for i := 0; b.Loop(); i++ {
			s.ask(spoofed(i&0xffffff), time.Duration(i)*time.Microsecond)
		}
	})
}
