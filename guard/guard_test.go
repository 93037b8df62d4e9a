package guard

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestSourcesThatAreNotAnswered(t *testing.T) {
	no := func([]byte) bool { return false }
	text := New(Config{Ports: []uint16{3333, 3337, 123}, IsAnswer: no})
	ntp := New(Config{Ports: []uint16{3333, 3337, 123}, Clients: []uint16{123}, IsAnswer: no})
	for src, want := range map[string]Verdict{
		"127.0.0.1:40000":       Pass, // containers of a pod talk over loopback
		"192.0.2.7:1024":        Pass,
		"[2001:db8::1]:40000":   Pass,
		"[fe80::1%eth0]:40000":  Pass,
		"192.0.2.7:0":           SourcePort,
		"192.0.2.7:7":           SourcePort,
		"192.0.2.7:123":         SourcePort,
		"192.0.2.7:1023":        SourcePort,
		"[2001:db8::1]:13":      SourcePort,
		"192.0.2.7:3333":        OwnPort,
		"[2001:db8::1]:3337":    OwnPort,
		"255.255.255.255:40000": SourceAddr,
		"224.0.0.1:40000":       SourceAddr,
		"239.255.0.1:40000":     SourceAddr,
		"0.0.0.0:40000":         SourceAddr,
		"[::]:40000":            SourceAddr,
		"[ff02::1]:40000":       SourceAddr,
	} {
		if got := text.Judge(netip.MustParseAddrPort(src), false, nil, 0); got != want {
			t.Errorf("%s: %v, want %v", src, got, want)
		}
	}
	for src, want := range map[string]Verdict{
		"192.0.2.7:123":  Pass, // NTP clients may ask from their server's port
		"192.0.2.7:37":   SourcePort,
		"192.0.2.7:3333": OwnPort,
	} {
		if got := ntp.Judge(netip.MustParseAddrPort(src), false, nil, 0); got != want {
			t.Errorf("NTP, %s: %v, want %v", src, got, want)
		}
	}
}

func TestVerdictsHaveNames(t *testing.T) {
	names := make(map[string]bool)
	for v := range numVerdicts {
		names[v.String()] = true
	}
	if len(names) != NumVerdicts || names[""] {
		t.Errorf("%d verdicts have the names %v", NumVerdicts, names)
	}
	if d := Drops(); len(d) != NumVerdicts-1 || slices.Contains(d, Pass) {
		t.Errorf("Drops returns %v, want all verdicts but pass", d)
	}
}

func TestOwnAnswersDoNotUseUpTheLimit(t *testing.T) {
	g := New(Config{IsAnswer: func(b []byte) bool { return string(b) == "answer" }, Sources: limited(1, 1)})
	src := netip.MustParseAddrPort("192.0.2.7:40000")
	for range 100 {
		if got := g.Judge(src, false, []byte("answer"), 0); got != OwnAnswer {
			t.Errorf("%v, want %v", got, OwnAnswer)
		}
	}
	if got := g.Judge(src, false, []byte("request"), 0); got != Pass {
		t.Errorf("%v: what was not answered has used up the limit", got)
	}
	limited := 0
	for range 1000 {
		if g.Judge(src, false, []byte("request"), 0) == RateLimit {
			limited++
		}
	}
	if limited != 1000 {
		t.Errorf("%d of 1000 were limited, want all", limited)
	}
}

func TestDatagramToMulticastCountsForNoSource(t *testing.T) {
	g := New(Config{IsAnswer: func([]byte) bool { return false }, Sources: limited(1, 1), Total: NewBucket(1, 1)})
	src := netip.MustParseAddrPort("192.0.2.7:40000")
	for range 100 {
		if got := g.Judge(src, true, []byte("request"), 0); got != DestAddr {
			t.Errorf("%v, want %v", got, DestAddr)
		}
	}
	if got := g.Judge(src, false, []byte("request"), 0); got != Pass {
		t.Errorf("%v: what was not answered has used up the limit", got)
	}
}

func TestRequestsBelowTheMinimumLengthAreDropped(t *testing.T) {
	g := New(Config{MinSize: 64, IsAnswer: func([]byte) bool { return false }})
	src := netip.MustParseAddrPort("192.0.2.7:40000")
	for size, want := range map[int]Verdict{0: Short, 63: Short, 64: Pass, 1400: Pass} {
		if got := g.Judge(src, false, make([]byte, size), 0); got != want {
			t.Errorf("%d bytes: %v, want %v", size, got, want)
		}
	}
}

func TestTotalLimitIsForAllSourcesTogether(t *testing.T) {
	g := New(Config{IsAnswer: func([]byte) bool { return false }, Sources: limited(10, 10), Total: NewBucket(1000, 100)})
	passed := 0
	const flood = 100_000
	for i := range flood {
		src := netip.AddrPortFrom(spoofed(i), 40000)
		switch got := g.Judge(src, false, nil, time.Duration(i)*10*time.Second/flood); got {
		case Pass:
			passed++
		case TotalLimit:
		default:
			t.Fatal(got)
		}
	}
	if want := 10*1000 + 100; passed < want-1 || passed > want {
		t.Errorf("%d answers in ten seconds at 1000 a second and 100 at once, want %d", passed, want)
	}
}

func BenchmarkJudge(b *testing.B) {
	g := New(Config{Ports: []uint16{3333}, IsAnswer: func([]byte) bool { return false }, Sources: limited(1e9, 1e9)})
	src := netip.MustParseAddrPort("127.0.0.1:40000")
	req := []byte("hi")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if g.Judge(src, false, req, time.Duration(i)) != Pass {
			b.Fatal("dropped")
		}
	}
}
