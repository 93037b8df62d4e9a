package guard

import (
	"net/netip"
	"testing"
)

func TestSourcesThatAreNotAnswered(t *testing.T) {
	text := New([]uint16{3333, 3337, 123}, nil)
	ntp := New([]uint16{3333, 3337, 123}, []uint16{123})
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
		if got := text.Source(netip.MustParseAddrPort(src)); got != want {
			t.Errorf("%s: %v, want %v", src, got, want)
		}
	}
	for src, want := range map[string]Verdict{
		"192.0.2.7:123":  Pass, // NTP clients may ask from their server's port
		"192.0.2.7:37":   SourcePort,
		"192.0.2.7:3333": OwnPort,
	} {
		if got := ntp.Source(netip.MustParseAddrPort(src)); got != want {
			t.Errorf("NTP, %s: %v, want %v", src, got, want)
		}
	}
}

func TestVerdictsHaveNames(t *testing.T) {
	for v := range NumVerdicts {
		if v.String() == "" {
			t.Errorf("verdict %d has no name", v)
		}
	}
}

func BenchmarkSource(b *testing.B) {
	g := New([]uint16{3333}, nil)
	src := netip.MustParseAddrPort("127.0.0.1:40000")
	b.ReportAllocs()
	for b.Loop() {
		if g.Source(src) != Pass {
			b.Fatal("dropped")
		}
	}
}
