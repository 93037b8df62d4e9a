package guard

import (
	"hash/maphash"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

var victim = netip.MustParseAddr("192.0.2.7")

// spoofed returns the i-th of many addresses.
func spoofed(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// limited returns Sources with a limit for each, and with runs that do not end in a
// test.
func limited(perSecond, burst int) *Sources {
	return NewSources(Limits{PerSecond: perSecond, Burst: burst, LongestRun: 1e9})
}

// ask reports whether a datagram from src is answered.
func (s *Sources) ask(src netip.Addr, now time.Duration) bool {
	return s.judge(netip.AddrPortFrom(src, 40000), now) == Pass
}

// askOften has src ask n times within d and returns how many were answered.
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
		t.Errorf("%d of 1000 answered at the rate", got)
	}
	if got := s.askOften(victim, 20*time.Second, 0, 20); got != 20 {
		t.Errorf("%d of a burst of 20 answered", got)
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
		t.Errorf("another source: %d of 20 answered", got)
	}
}

func TestAtOnceASourceGetsItsBurstAndAQuarter(t *testing.T) {
	for _, burst := range []int{1, 2, 5, 100, 4000} {
		s := limited(1000, burst)
		quarter := (burst + 2) / 4 // of the burst but one, rounded up
		if got := s.askOften(victim, 0, 0, 100*burst); got < burst || got > burst+quarter {
			t.Errorf("%d answers at once, want %d and a quarter at most", got, burst)
		}
	}
}

func TestIPv6IsLimitedByNetwork(t *testing.T) {
	s := limited(1, 1)
	a, same, other := netip.MustParseAddr("2001:db8:0:1::1"), netip.MustParseAddr("2001:db8:0:1:ffff::2"), netip.MustParseAddr("2001:db8:0:2::1")
	if Source(a) != Source(same) || Source(a) == Source(other) {
		t.Error("not by /64")
	}
	if !s.ask(a, 0) || !s.ask(other, 0) {
		t.Error("the first question of a network was not answered")
	}
	if got := s.askOften(same, 0, 0, 4000); got != 0 {
		t.Errorf("%d of 4000 answered, want none over the limit", got)
	}
}

// TestManyFalseSourcesSilenceNobody: a million addresses, which fill the table
// over and over, make no difference to one that asks now and then; nor do they
// free one that is over its limit.
func TestManyFalseSourcesSilenceNobody(t *testing.T) {
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
		t.Errorf("%d of %d answered", honest, tries)
	}
	if want := 2000*flood/1_000_000 + 4000/4; given > want {
		t.Errorf("one over its limit got %d answers, want %d at most", given, want)
	}
}

// flood is what a false sender sends in the name of a victim.
type flood struct {
	name string
	// next returns the time of the datagram after those at or before last, at a mean
	// rate.
	next func(last time.Duration, rate float64) time.Duration
}

// inBunches returns a flood of so many bunches a second.
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

// floods returns those that a token bucket without chance answers very differently.
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

// TestVictimOfAFloodInItsNameIsAnsweredInTwoTries: a false sender asks in the name of
// a victim, which itself asks once or 10 times a second, and asks again if it is not
// answered. While the flood is up to 7 times the limit it is answered at least one
// time in four. Whatever the flood, no more is sent to the victim than the limit
// allows.
func TestVictimOfAFloodInItsNameIsAnsweredInTwoTries(t *testing.T) {
	const limit, burst = 2000, 4000
	random := rand.New(rand.NewPCG(1, 2))
	for _, rate := range []float64{100, 1000, 2000, 4000, 8000, 7 * limit, 20_000, 50_000, 100_000} {
		questions := 50
		if rate > 7*limit { // these are many datagrams
			questions = 10
		}
		for _, own := range []int{1, 10} {
			worst, least := "", 1.0
			for _, f := range floods(random) {
				s := limited(limit, burst)
				s.limiter.random = rand.NewChaCha8([32]byte{}) // it fails always or never
				const settled = 5 * time.Second                // the burst is used up
				var next, now time.Duration
				sent, inTwo, before := 0, 0.0, 0.0
				for asked := 0; asked < questions; {
					// At no time that a flood could keep in step with.
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
			t.Logf("a flood of %6.0f a second: %2d questions a second are answered in two tries with a probability of %.3f (%s)", rate, own, least, worst)
			if rate < limit && least < 1 || rate <= 7*limit && least < 0.25 {
				t.Errorf("%v a second, %s: answered in two tries with a probability of %.3f", rate, worst, least)
			}
		}
	}
}

func TestSourcesAllocateNothing(t *testing.T) {
	s := NewSources(Limits{PerSecond: 1, Burst: 1, LongestRun: 2})
	if n := testing.AllocsPerRun(1000, func() { s.ask(victim, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
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
