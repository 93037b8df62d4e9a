package guard

import (
	"net/netip"
	"testing"
	"time"
)

var victim = netip.MustParseAddr("192.0.2.7")

// spoofed returns the i-th of many addresses.
func spoofed(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

// ask has src ask n times within d and returns how many were answered.
func ask(l *Limiter, src netip.Addr, from, d time.Duration, n int) (answered int) {
	for i := range n {
		if l.Allow(src, from+d*time.Duration(i)/time.Duration(n)) {
			answered++
		}
	}
	return answered
}

func TestSourceWithinItsRateIsAlwaysAnswered(t *testing.T) {
	l := NewLimiter(100, 20)
	if got := ask(l, victim, 0, 10*time.Second, 1000); got != 1000 {
		t.Errorf("%d of 1000 answered at the rate", got)
	}
	if got := ask(l, victim, 20*time.Second, 0, 20); got != 20 {
		t.Errorf("%d of a burst of 20 answered", got)
	}
}

func TestSourceOverItsRateIsAnsweredAtItAndALeak(t *testing.T) {
	l := NewLimiter(100, 20)
	const n = 100000
	got := ask(l, victim, 0, 10*time.Second, n)
	want := 100*10 + 20 + (n-1020)/leak
	if got < want*95/100 || got > want*105/100 {
		t.Errorf("%d of %d answered, want about %d", got, n, want)
	}
	if got := ask(l, netip.MustParseAddr("192.0.2.8"), 10*time.Second, 0, 20); got != 20 {
		t.Errorf("another source: %d of 20 answered", got)
	}
}

func TestIPv6IsLimitedByNetwork(t *testing.T) {
	l := NewLimiter(1, 1)
	a, same, other := netip.MustParseAddr("2001:db8:0:1::1"), netip.MustParseAddr("2001:db8:0:1:ffff::2"), netip.MustParseAddr("2001:db8:0:2::1")
	if Source(a) != Source(same) || Source(a) == Source(other) {
		t.Error("not by /64")
	}
	if !l.Allow(a, 0) || !l.Allow(other, 0) {
		t.Error("the first question of a network was not answered")
	}
	if got := ask(l, same, 0, 0, 4000); got < 4000/leak*8/10 || got > 4000/leak*12/10 {
		t.Errorf("%d of 4000 answered, want the leak only", got)
	}
}

// TestManyFalseSourcesSilenceNobody: a million addresses, which fill the table
// over and over, make no difference to one that asks now and then; nor do they
// free one that is over its limit.
func TestManyFalseSourcesSilenceNobody(t *testing.T) {
	l := NewLimiter(2000, 4000)
	heavy := netip.MustParseAddr("198.51.100.1")
	ask(l, heavy, 0, 0, 20000)
	honest, given := 0, 0
	const flood, each, often = 1 << 20, 1000, 100
	for i := range flood {
		now := time.Duration(i) * time.Microsecond // a million a second
		l.Allow(spoofed(i), now)
		if i%each == 0 {
			if l.Allow(victim, now) {
				honest++
			}
		}
		if i%often == 0 && l.Allow(heavy, now) { // five times its rate
			given++
		}
	}
	if tries := flood/each + 1; honest != tries {
		t.Errorf("%d of %d answered", honest, tries)
	}
	if asked := flood/often + 1; given > asked/2 {
		t.Errorf("one over its limit got %d of %d", given, asked)
	}
}

// TestFalseSenderOfOneAddressCannotSilenceIt: all of the flood has the victim's
// address. Of four tries one is answered at least.
func TestFalseSenderOfOneAddressCannotSilenceIt(t *testing.T) {
	l := NewLimiter(2000, 4000)
	const tries = 1000
	answered := 0
	for i := range 1 << 20 {
		now := time.Duration(i) * time.Microsecond
		ok := l.Allow(victim, now)
		if i%1000 == 999 && ok {
			answered++
		}
	}
	if answered < tries/4 {
		t.Errorf("%d of %d answered", answered, tries)
	}
}

func TestAllowAllocatesNothing(t *testing.T) {
	l := NewLimiter(1, 1)
	if n := testing.AllocsPerRun(1000, func() { l.Allow(victim, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAllow(b *testing.B) {
	b.Run("one source", func(b *testing.B) {
		l := NewLimiter(1e9, 1e9)
		for i := 0; b.Loop(); i++ {
			l.Allow(victim, time.Duration(i))
		}
	})
	b.Run("over its limit", func(b *testing.B) {
		l := NewLimiter(1, 1)
		for b.Loop() {
			l.Allow(victim, 0)
		}
	})
	b.Run("many sources", func(b *testing.B) {
		l := NewLimiter(2000, 4000)
		for i := 0; b.Loop(); i++ {
			l.Allow(spoofed(i&0xffffff), time.Duration(i)*time.Microsecond)
		}
	})
}
