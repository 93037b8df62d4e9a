package guard

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var partner = netip.AddrPortFrom(victim, 10013)

// breaking returns Sources with a breaker and no rate limit. Its random numbers are
// the same in each test run.
func breaking(longest int) *Sources {
	s := NewSources(Limits{LongestRun: longest})
	s.breaker.random = rand.NewChaCha8([32]byte{})
	return s
}

// converse sends datagrams with the spoofed source of a service, at the given times.
// The service replies to each answer after takes(). converse returns the number of
// answers, and when the last one left. It stops after most answers.
func converse(s *Sources, injected []time.Duration, takes func() time.Duration, most int) (answers int, end time.Duration) {
	for arriving := slices.Clone(injected); len(arriving) > 0 && answers <= most; {
		first := 0
		for i, at := range arriving {
			if at < arriving[first] {
				first = i
			}
		}
		now := arriving[first]
		if s.judge(partner, now) == Pass {
			answers, end = answers+1, now
			arriving[first] = now + takes()
		} else {
			arriving = slices.Delete(arriving, first, first+1)
		}
	}
	return answers, end
}

func TestInjectedDatagramCausesABoundedNumberOfAnswers(t *testing.T) {
	const longest = 200
	random := rand.New(rand.NewPCG(1, 2))
	for name, takes := range map[string]func() time.Duration{
		"10 µs":       func() time.Duration { return 10 * time.Microsecond },
		"1 ms":        func() time.Duration { return time.Millisecond },
		"1 s":         func() time.Duration { return time.Second },
		"10 s":        func() time.Duration { return 10 * time.Second },
		"up to 10 s":  func() time.Duration { return time.Duration(random.Int64N(int64(10*time.Second) + 1)) },
		"now or late": func() time.Duration { return time.Duration(random.IntN(2)) * 10 * time.Second },
	} {
		for _, count := range []int{1, 2, 10, 100} {
			for range 5 {
				// At time 0, or while the other loops run.
				var injected []time.Duration
				for range count {
					injected = append(injected, time.Duration(random.IntN(2)*random.IntN(100))*takes())
				}
				answers, end := converse(breaking(longest), injected, takes, 2*count*longest)
				if answers > count*longest {
					t.Errorf("a service that takes %s to reply: %d spoofed datagrams, %d answers until %v, want %d at most", name, count, answers, end, count*longest)
				}
			}
		}
	}
}

func TestEndOfAReplyLoopIsUnpredictable(t *testing.T) {
	const longest, times = 200, 10_000
	s := breaking(longest)
	ends := make(map[int]int)
	for i := range times {
		answers, _ := converse(s, []time.Duration{time.Duration(i) * time.Hour}, func() time.Duration { return time.Millisecond }, 2*longest)
		ends[answers]++
	}
	for answers, n := range ends {
		if mean := times / (longest/2 + 1); answers < longest/2 || answers > longest || n > 2*mean {
			t.Errorf("%d of %d reply loops end after %d answers; want about %d for each number from %d to %d", n, times, answers, mean, longest/2, longest)
		}
	}
}

func TestPromptClientLosesAtMostOneAnswerInARun(t *testing.T) {
	const longest, questions = 200, 100_000
	for _, roundTrip := range []time.Duration{30 * time.Microsecond, time.Millisecond, time.Second} {
		for _, timeout := range []time.Duration{200 * time.Millisecond, time.Second, 5 * time.Second} {
			s := breaking(longest)
			lost, last := 0, -questions
			now := time.Duration(0)
			for i := range questions {
				if s.judge(partner, now) == Pass {
					now += roundTrip
					continue
				}
				now += timeout
				if lost++; i-last <= longest/2 {
					t.Errorf("round trip %v, timeout %v: questions %d and %d are not answered", roundTrip, timeout, last, i)
				}
				last = i
			}
			if lost == 0 {
				t.Errorf("round trip %v, timeout %v: all questions are answered, but the breaker cannot tell the client from a service", roundTrip, timeout)
			}
		}
	}
}

// TestNTPClientsLoseNothing polls like ntpd and chronyd, for a month.
func TestNTPClientsLoseNothing(t *testing.T) {
	const month = 30 * 24 * time.Hour
	for name, c := range map[string]struct {
		poll, apart time.Duration
		burst       int
	}{
		"a packet each 16 s":          {16 * time.Second, 0, 1},
		"a packet each 64 s":          {64 * time.Second, 0, 1},
		"8 packets each 64 s":         {64 * time.Second, 2 * time.Second, 8},
		"8 packets at once each 64 s": {64 * time.Second, time.Millisecond, 8},
		"4 packets each 16 s":         {16 * time.Second, 0, 4},
	} {
		s := breaking(2000)
		for at := time.Duration(0); at < month; at += c.poll {
			for i := range c.burst {
				if now := at + time.Duration(i)*c.apart; s.judge(partner, now) != Pass {
					t.Fatalf("%s: packet %d of the burst at %v was withheld", name, i, at)
				}
			}
		}
	}
}

// TestSpoofingRarelyWithholdsTheAnswerToAClient: before each question of a client, a
// sender spoofs the client's address and port. It sends as many datagrams as may make
// the question the one that ends a run.
func TestSpoofingRarelyWithholdsTheAnswerToAClient(t *testing.T) {
	const longest, questions = 200, 10_000
	random := rand.New(rand.NewPCG(1, 2))
	number := func(n int) func() int { return func() int { return n } }
	for _, c := range []struct {
		name     string
		injected func() int
	}{
		{"one", number(1)},
		{"a shortest run", number(longest / 2)},
		{"one less", number(longest/2 - 1)},
		{"a mean run", number(longest * 3 / 4)},
		{"a longest run", number(longest)},
		{"one less than a longest run", number(longest - 1)},
		{"any number", func() int { return random.IntN(3 * longest) }},
	} {
		s := breaking(longest)
		withheld, inARow, before := 0, 0, false
		for i := range questions {
			now := time.Duration(i) * time.Second
			for range c.injected() {
				s.judge(partner, now)
			}
			lost := s.judge(partner, now) != Pass
			if lost {
				withheld++
			}
			if lost && before {
				inARow++
			}
			before = lost
		}
		// The mean plus five standard deviations.
		const mean = questions * 2 / longest
		if most := mean + 5*math.Sqrt(mean); float64(withheld) > most {
			t.Errorf("%s: %d of %d questions are withheld, want %d at most", c.name, withheld, questions, int(most))
		}
		if inARow > mean/10 {
			t.Errorf("%s: %d questions are withheld again when the client asks again", c.name, inARow)
		}
	}
}

// TestReplyLoopAmongManyFlowsEnds: while the service takes time to reply, many other
// flows ask.
func TestReplyLoopAmongManyFlowsEnds(t *testing.T) {
	const longest, takes = 200, 100 * time.Millisecond
	for _, c := range []struct {
		name           string
		others, always int // number of other flows, and how many of them are the same each time
		questions      int // of each other flow
		more           int // how many answers a run may have above longest
	}{
		{"2000, once each", 2000, 0, 1, 0},
		{"2000, in bursts", 2000, 0, 8, 0},
		{"2000 that come back", 2000, 2000, 1, 0},
		// An eviction adds fewer than settled answers: a flow with a run of settled is
		// not evicted.
		{"8000, once each", 8000, 0, 1, 2 * settled},
		{"8000 that come back", 8000, 8000, 1, 2 * settled},
	} {
		s := breaking(longest)
		answers, other := 0, 0
		for now := time.Duration(0); answers <= 2*longest && s.judge(partner, now) == Pass; now += takes {
			answers++
			for i := range c.others {
				if i >= c.always {
					other++
					i = other
				}
				src := netip.AddrPortFrom(spoofed(i), 40000)
				for range c.questions {
					s.judge(src, now)
				}
			}
		}
		if answers > longest+c.more {
			t.Errorf("%s: %d answers, want %d at most", c.name, answers, longest+c.more)
		}
	}
}

// TestFloodOfFlowsFreesNoReplyLoop sends a million datagrams a second, each from
// another address.
func TestFloodOfFlowsFreesNoReplyLoop(t *testing.T) {
	const longest = 2000
	s := breaking(longest)
	answers := 0
	for i := 0; answers <= longest; i++ {
		now := time.Duration(i) * time.Microsecond
		s.judge(netip.AddrPortFrom(spoofed(i%(1<<24)), uint16(1024+i%60_000)), now)
		if i%1000 == 0 {
			if s.judge(partner, now) != Pass {
				break
			}
			answers++
		}
	}
	if answers > longest {
		t.Errorf("%d answers, want %d at most", answers, longest)
	}
}

func TestPortsOfASourceAreCountedApart(t *testing.T) {
	const longest = 20
	s := breaking(longest)
	for port := uint16(1024); port < 1024+100; port++ {
		for i := range longest / 2 {
			if s.judge(netip.AddrPortFrom(victim, port), 0) != Pass {
				t.Errorf("port %d: question %d is not answered", port, i)
			}
		}
	}
}
