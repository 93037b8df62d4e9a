package guard

import (
	"bytes"
	"net/netip"
	"testing"
	"time"
)

// FuzzJudge: the verdict is the first that applies, for any datagram and any state of
// the limits.
func FuzzJudge(f *testing.F) {
	for i, a := range []string{"127.0.0.1", "192.0.2.7", "0.0.0.0", "255.255.255.255", "224.0.0.1", "239.255.255.255", "240.0.0.1", "::", "::1", "ff02::1", "fe80::1", "2001:db8::1", "::ffff:192.0.2.7", "::ffff:224.0.0.1"} {
		for j, port := range []uint16{0, 7, 123, 1023, 1024, 3333, 3334, 65535} {
			f.Add(netip.MustParseAddr(a).AsSlice(), port, []byte("answer")[:(i+j)%7], int64(i*j), byte(i+j))
		}
	}
	f.Fuzz(func(t *testing.T, addr []byte, port uint16, data []byte, now int64, kind byte) {
		a, ok := netip.AddrFromSlice(addr)
		if !ok {
			return
		}
		c := Config{Ports: []uint16{3333, 123}, MinSize: int(kind >> 4), IsAnswer: func(b []byte) bool { return bytes.HasPrefix(b, []byte("a")) }}
		if kind&1 > 0 {
			c.Clients = []uint16{123}
		}
		if kind&2 > 0 {
			c.Sources = sources
		}
		if kind&4 > 0 {
			c.Total = NewBucket(1, 1)
		}
		got := New(c).Judge(netip.AddrPortFrom(a, port), kind&8 > 0, data, time.Duration(now&(1<<62-1)))
		first := addr[0]
		sum := byte(0)
		for _, b := range addr[1:] {
			sum |= b
		}
		multicast, unspecified := first == 0xff, first == 0 && sum == 0
		if a.Is4() {
			multicast = first>>4 == 0xe || a.String() == "255.255.255.255"
		} else if a.Is4In6() { // the kernel delivers no such source
			multicast = addr[12]>>4 == 0xe
		}
		want := Pass
		switch client := kind&1 > 0 && port == 123; {
		case kind&8 > 0:
			want = DestAddr
		case port < 1024 && !client:
			want = SourcePort
		case port == 3333:
			want = OwnPort
		case multicast || unspecified:
			want = SourceAddr
		case len(data) < int(kind>>4):
			want = Short
		case len(data) > 0 && data[0] == 'a':
			want = OwnAnswer
		}
		if got != want && (want != Pass || got != RateLimit && got != ReplyLoop || c.Sources == nil) {
			t.Errorf("%v port %d, %q: %v, want %v", a, port, data, got, want)
		}
		if got.String() == "" {
			t.Errorf("verdict %d has no name", got)
		}
	})
}

var sources = NewSources(Limits{PerSecond: 1, Burst: 1, LongestRun: 10}) // shared by all inputs, because it is large

// FuzzBucket compares a Bucket with a plain token bucket, for any sequence of
// questions.
func FuzzBucket(f *testing.F) {
	f.Add(uint32(1), uint32(1), []byte{0, 0, 255, 1, 255, 255})
	f.Add(uint32(1000), uint32(3), []byte{0, 0, 0, 0, 0, 10, 10, 10, 20, 200})
	f.Add(uint32(1e9), uint32(1e9), []byte{0, 1, 2, 3})
	f.Add(uint32(7), uint32(2), bytes.Repeat([]byte{130}, 100))
	f.Fuzz(func(t *testing.T, rate, burst uint32, waits []byte) {
		rate, burst = 1+rate%1e9, 1+burst%1e9
		b := NewBucket(int(rate), int(burst))
		// A token takes interval, a whole number of nanoseconds, to fill.
		interval := max(1, int64(time.Second)/int64(rate))
		room := int64(burst) * interval
		filled, now := room, time.Duration(0)
		for _, w := range waits {
			// From a nanosecond to hours, about evenly by logarithm.
			wait := time.Duration(w&7) << (w >> 3 * 5 / 4)
			now += wait
			filled = min(room, filled+int64(wait))
			want := filled >= interval
			if want {
				filled -= interval
			}
			if got := b.Allow(now); got != want {
				t.Fatalf("at %v, %d a second and %d at once: %v, want %v", now, rate, burst, got, want)
			}
		}
	})
}

// FuzzSource: two addresses have the same key if they are equal, or in the same /64.
func FuzzSource(f *testing.F) {
	f.Add([]byte{192, 0, 2, 7}, []byte{192, 0, 2, 8})
	f.Add([]byte{192, 0, 2, 7}, netip.MustParseAddr("ffff:ffff:c000:207::1").AsSlice())
	f.Add(netip.MustParseAddr("2001:db8::1").AsSlice(), netip.MustParseAddr("2001:db8::2").AsSlice())
	f.Fuzz(func(t *testing.T, x, y []byte) {
		a, ok := netip.AddrFromSlice(x)
		b, ok2 := netip.AddrFromSlice(y)
		if !ok || !ok2 || a.IsMulticast() || b.IsMulticast() {
			return // the guard drops these
		}
		same := len(x) == len(y) && bytes.Equal(x[:min(8, len(x))], y[:min(8, len(y))])
		if (Source(a) == Source(b)) != same {
			t.Errorf("the key of %v is %x, that of %v is %x", a, Source(a), b, Source(b))
		}
	})
}
