package xdp

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"nowd/answer"
	"nowd/clock"
	"nowd/ntp"
)

func TestTextIsAnsweredAsBySockets(t *testing.T) {
	for _, form := range []answer.Form{answer.DateTime, answer.RFC3339, answer.Unix, answer.UnixMS, answer.UnixUS, answer.UnixNS} {
		t.Run(form.String(), func(t *testing.T) {
			b := newBench(t, form, nil)
			for _, zone := range []string{"UTC", "Asia/Kolkata", "America/St_Johns"} {
				for _, newline := range []bool{true, false} {
					b.zone, _ = time.LoadLocation(zone)
					b.newline = newline
					b.refresh()
					for _, v6 := range []bool{false, true} {
						for size := range 4 {
							if b.expect(ask(v6, textPort, []byte("hi\n")[:size])) == nil {
								t.Errorf("%s, IPv6 %v: %d bytes got no answer", zone, v6, size)
							}
						}
						if b.expect(ask(v6, textPort, []byte("unix"))) != nil {
							t.Error("a word was answered")
						}
					}
				}
			}
		})
	}
}

func TestNTPIsAnsweredAsBySockets(t *testing.T) {
	b := newBench(t, answer.DateTime, nil)
	for name, c := range map[string]struct {
		kernel  fakeKernel
		measure *clock.Measurement
	}{
		"synced":       {fakeKernel{state: clock.State{MaxError: 3 * time.Millisecond, Offset: -time.Microsecond}}, nil},
		"unsynced":     {fakeKernel{state: clock.State{MaxError: clock.MaxErrorLimit}}, nil},
		"unknown":      {fakeKernel{err: clock.ErrUnsupported}, nil},
		"upstream":     {fakeKernel{state: clock.State{MaxError: clock.MaxErrorLimit}}, &clock.Measurement{Bound: time.Millisecond, Offset: 70 * time.Microsecond, Stratum: 2, RefID: [4]byte{1, 2, 3, 4}, RootDelay: 300 * time.Microsecond, Life: time.Hour}},
		"both":         {fakeKernel{state: clock.State{MaxError: 900 * time.Microsecond}}, &clock.Measurement{Bound: time.Millisecond, Offset: -70 * time.Microsecond, Stratum: 2, Life: time.Hour}},
		"contradicted": {fakeKernel{state: clock.State{MaxError: time.Microsecond}}, &clock.Measurement{Bound: time.Millisecond, Offset: time.Second, Stratum: 15, Life: time.Hour}},
	} {
		b.kernel, b.measure = c.kernel, c.measure
		b.refresh()
		for version := range uint8(8) {
			for _, v6 := range []bool{false, true} {
				if got := b.expect(ask(v6, ntpPort, ntpRequest(version))) != nil; got != (version >= 1 && version <= 4) {
					t.Errorf("%s, IPv6 %v: version %d was answered: %v", name, v6, version, got)
				}
			}
		}
	}
}

// TestOtherFramesArePassed: the program passes every frame that it may not answer, and does
// not change it.
func TestOtherFramesArePassed(t *testing.T) {
	b := newBench(t, answer.DateTime, nil)
	change := func(f []byte, at int, to ...byte) []byte {
		f = append([]byte(nil), f...)
		copy(f[at:], to)
		return f
	}
	sum4 := func(f []byte) []byte { // corrects the header's checksum
		f[24], f[25] = 0, 0
		sum := checksum(f[14:34])
		f[24], f[25] = byte(sum>>8), byte(sum)
		return f
	}
	v4, v6, text := ask(false, ntpPort, ntpRequest(4)), ask(true, ntpPort, ntpRequest(4)), ask(false, textPort, nil)
	tagged := append(append(append([]byte(nil), v4[:12]...), 0x81, 0, 0, 5), v4[12:]...)
	from := func(src string, dst netip.Addr) []byte {
		return frame(netip.AddrPortFrom(netip.MustParseAddr(src), 40000), netip.AddrPortFrom(dst, ntpPort), ntpRequest(4))
	}
	to := func(src netip.Addr, dst string) []byte {
		return frame(netip.AddrPortFrom(src, 40000), netip.AddrPortFrom(netip.MustParseAddr(dst), ntpPort), ntpRequest(4))
	}
	for name, f := range map[string][]byte{
		"a VLAN":                           tagged,
		"ARP":                              change(v4, 12, 0x08, 0x06),
		"TCP":                              sum4(change(v4, 23, 6)),
		"ICMP":                             sum4(change(v4, 23, 1)),
		"another port":                     change(v4, 36, 0, 53),
		"another host's frame":             change(v4, 5, 9),
		"another host's frame, IPv6":       change(v6, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"a broadcast frame":                change(v4, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"a frame from broadcast":           change(v4, 6, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"options":                          sum4(change(v4, 14, 0x46)),
		"the first fragment":               sum4(change(v4, 20, 0x20)),
		"a later fragment":                 sum4(change(v4, 20, 0, 1)),
		"a bit that must be zero":          sum4(change(v4, 20, 0x80)),
		"a wrong header checksum":          change(v4, 24, 1, 2),
		"a wrong length":                   sum4(change(v4, 16, 0, 75)),
		"a datagram shorter than its IP":   change(v4, 38, 0, 55),
		"an extension header":              change(v6, 20, 0),
		"a fragment, IPv6":                 change(v6, 20, 44),
		"IPv6 of version 5":                change(v6, 14, 0x50),
		"no checksum, IPv6":                change(v6, 60, 0, 0),
		"47 bytes":                         ask(false, ntpPort, ntpRequest(4)[:47]),
		"49 bytes":                         ask(false, ntpPort, append(ntpRequest(4), 0)),
		"a MAC":                            ask(false, ntpPort, append(ntpRequest(4), make([]byte, 20)...)),
		"a server's answer":                change(v4, 42, 0x24),
		"version 1 without a leap":         change(v4, 42, 0x0b),
		"a truncated frame":                v4[:80],
		"bytes after the datagram":         append(append([]byte(nil), v4...), 0),
		"more than padding":                append(append([]byte(nil), text...), make([]byte, 23)...),
		"four bytes":                       ask(false, textPort, []byte("unix")),
		"a source of 0/8":                  from("0.1.2.3", ours4),
		"a source of 127/8":                from("127.0.0.1", ours4),
		"a multicast source":               from("224.0.0.1", ours4),
		"a broadcast source":               from("255.255.255.255", ours4),
		"its own source":                   from(ours4.String(), ours4),
		"an unspecified source, IPv6":      from("::", ours6),
		"loopback, IPv6":                   from("::1", ours6),
		"IPv4 in IPv6":                     from("::ffff:192.0.2.7", ours6),
		"a multicast source, IPv6":         from("ff02::1", ours6),
		"its own source, IPv6":             from(ours6.String(), ours6),
		"our other address as the source":  from(ourLocal6.String(), ours6),
		"another destination":              to(theirs4, "192.0.2.2"),
		"a broadcast destination":          to(theirs4, "192.0.2.255"),
		"a multicast destination":          to(theirs4, "224.0.1.1"),
		"another destination, IPv6":        to(theirs6, "2001:db8::2"),
		"a multicast destination, IPv6":    to(theirs6, "ff02::101"),
		"a destination of the same prefix": to(theirs6, "2001:db8::1:1"),
	} {
		if b.expect(f) != nil {
			t.Errorf("%s: answered", name)
		}
	}
	for name, f := range map[string][]byte{
		"padding":        append(append([]byte(nil), text...), make([]byte, 18)...),
		"DF not set":     sum4(change(v4, 20, 0)),
		"a TOS":          sum4(change(v4, 15, 0xb8)),
		"link-local":     frame(netip.MustParseAddrPort("[fe80::7]:40000"), netip.AddrPortFrom(ourLocal6, ntpPort), ntpRequest(3)),
		"NTP's own port": frame(netip.AddrPortFrom(theirs4, 123), netip.AddrPortFrom(ours4, ntpPort), ntpRequest(4)),
	} {
		if b.expect(f) == nil {
			t.Errorf("%s: not answered", name)
		}
	}
}

func TestServicePortsGetNoAnswer(t *testing.T) {
	b := newBench(t, answer.DateTime, nil)
	for port, want := range map[uint16]int{0: countSourcePort, 7: countSourcePort, 1023: countSourcePort, 123: countSourcePort, textPort: countOwnPort, 3337: countOwnPort, 1024: countAnswers, 65535: countAnswers} {
		counted := b.sum()[0][want]
		b.expect(frame(netip.AddrPortFrom(theirs4, port), netip.AddrPortFrom(ours4, textPort), nil))
		if b.sum()[0][want] != counted+1 {
			t.Errorf("source port %d: counter %d did not change", port, want)
		}
	}
}

func TestOnlyEndpointsAreAnswered(t *testing.T) {
	b := newBench(t, answer.DateTime, func(c *Config) { c.MinRequest = 2 })
	if b.expect(ask(false, textPort, []byte("a"))) != nil || b.expect(ask(false, textPort, []byte("ab"))) == nil {
		t.Error("MinRequest has no effect")
	}
	b.endpoints = []Endpoint{{NTP, netip.IPv4Unspecified()}, {Text, ours6}}
	b.refresh()
	b.model.serves = map[netip.Addr]Protocol{ours4: NTP, ours6: Text}
	for _, v6 := range []bool{false, true} {
		if got := b.expect(ask(v6, ntpPort, ntpRequest(4))) != nil; got == v6 {
			t.Errorf("NTP, IPv6 %v: %v", v6, got)
		}
		if got := b.expect(ask(v6, textPort, []byte("ab"))) != nil; got != v6 {
			t.Errorf("text, IPv6 %v: %v", v6, got)
		}
	}
}

// TestFactsExpire: the program passes every frame while the facts are not valid.
func TestFactsExpire(t *testing.T) {
	b := newBench(t, answer.DateTime, nil)
	fresh := b.facts.slots[b.facts.generation%2]
	for name, change := range map[string]func(s *slot){
		"never written":          func(s *slot) { *s = slot{} },
		"expired":                func(s *slot) { s.expires = s.written },
		"from the future":        func(s *slot) { s.written += int64(time.Second) },
		"the clock stepped":      func(s *slot) { s.taiMono += int64(2 * time.Millisecond) },
		"the clock stepped back": func(s *slot) { s.taiMono -= int64(2 * time.Millisecond) },
		"TAI's offset was set":   func(s *slot) { s.taiUTC += 37e9; s.taiMono += 37e9 },
		"lines too old":          func(s *slot) { s.text.second -= lineSeconds * 1e9; s.written, s.expires = 0, 0 },
	} {
		s := fresh
		change(&s)
		b.facts.write(s)
		for _, f := range [][]byte{ask(false, ntpPort, ntpRequest(4)), ask(true, textPort, nil)} {
			before := b.stale()
			verdict, out := b.runOnce(f)
			stale := b.stale() - before
			if verdict != actionPass || string(out) != string(f) || stale > 1 || name != "never written" && stale != 1 {
				t.Errorf("%s: verdict %d, %d counted as stale", name, verdict, stale)
			}
		}
	}
}

// TestLeapSecondIsLeftToTheSockets: the facts expire before the last seconds of a day with
// a leap second.
func TestLeapSecondIsLeftToTheSockets(t *testing.T) {
	midnight := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	b := &bench{zone: time.UTC, kernel: fakeKernel{state: clock.State{MaxError: 1, Leap: clock.LeapInsert}}}
	for before, want := range map[time.Duration]time.Duration{
		time.Hour: lifetime, 5 * time.Second: lifetime, 4 * time.Second: 2 * time.Second, 2 * time.Second: 0, time.Second: -time.Second, 0: lifetime,
	} {
		at := midnight.Add(-before)
		w := b.newWriter(at)
		s := w.slot(clocks{utc: at.UnixNano(), tai: at.Add(37 * time.Second).UnixNano()}, station{}, nil)
		if got := time.Duration(s.expires - s.written); got != want {
			t.Errorf("%v before midnight: valid for %v, want %v", before, got, want)
		}
		if s.taiUTC != 37e9 {
			t.Errorf("TAI minus UTC is %d, want 37e9", s.taiUTC)
		}
	}
}

// TestDigitsAreExact: the fixed-point conversion gives the same digits as the standard
// library, at the ends of all decimal ranges and in between.
func TestDigitsAreExact(t *testing.T) {
	b := newBench(t, answer.UnixNS, nil)
	for range 20_000 {
		if b.expect(ask(false, textPort, nil)) == nil {
			t.Fatal("no answer")
		}
		b.refresh()
	}
	const factor = 1<<57/100_000_000 + 1
	check := func(n uint64) {
		x := n * factor
		for place, div := range []uint64{1e8, 1e7, 1e6, 1e5, 1e4, 1e3, 100, 10, 1} {
			if x>>57 != n/div%10 {
				t.Fatalf("digit %d of %d: %d", place, n, x>>57)
			}
			x = x << 7 >> 7 * 10
		}
	}
	for n := uint64(0); n < 1e9; n += 997 {
		check(n)
	}
	for ten := uint64(1); ten <= 1e9; ten *= 10 {
		for d := range uint64(10) {
			check(min(1e9-1, d*ten))
			check(min(1e9-1, d*ten+ten-1))
		}
	}
}

func TestSourcesAreLimited(t *testing.T) {
	const burst = 50
	b := newBench(t, answer.DateTime, func(c *Config) { c.Source = Limit{1, burst} })
	began := time.Now()
	f := ask(false, textPort, nil)
	for i := 0; i < burst-b.stopped; i++ {
		if verdict, _ := b.run(f); verdict != actionTX {
			t.Fatalf("question %d of a burst of %d: verdict %d", i, burst, verdict)
		}
	}
	// About a quarter of the burst more may be answered, each with a lower probability.
	const more = 3000
	var verdicts [4]int
	for range more {
		verdict, out := b.run(f)
		if verdict != actionTX && string(out) != string(f) {
			t.Fatal("a frame without an answer was changed")
		}
		verdicts[verdict]++
	}
	if n := verdicts[actionTX]; n < 1 || n > burst/4+2+int(time.Since(began)/time.Second) {
		t.Errorf("%d were answered over the limit", n)
	}
	if c := b.sum()[0]; c[countRateLimit] != uint64(verdicts[actionDrop]) || verdicts[actionAborted]+verdicts[actionPass] > 0 {
		t.Errorf("verdicts %v, counters %v", verdicts, c)
	}
	// Another source and another IPv6 network have their own buckets.
	for _, src := range []string{"192.0.2.8", "2001:db8:0:1::1", "2001:db8:0:2::1"} {
		dst := ours4
		if strings.Contains(src, ":") {
			dst = ours6
		}
		one := frame(netip.AddrPortFrom(netip.MustParseAddr(src), 40000), netip.AddrPortFrom(dst, textPort), nil)
		if verdict, _ := b.run(one); verdict != actionTX {
			t.Errorf("%s: verdict %d, want %d", src, verdict, actionTX)
		}
	}
	// Addresses of the same network share a bucket.
	for range 100 * burst {
		b.run(frame(netip.MustParseAddrPort("[2001:db8:0:1::2]:40000"), netip.AddrPortFrom(ours6, textPort), nil))
	}
	answered := b.sum()[0][countAnswers]
	for range 20 {
		b.run(frame(netip.MustParseAddrPort("[2001:db8:0:1::3]:40000"), netip.AddrPortFrom(ours6, textPort), nil))
	}
	if n := b.sum()[0][countAnswers] - answered; n > 2+uint64(time.Since(began)/time.Second) {
		t.Errorf("%d were answered over the limit of a network", n)
	}
}

func TestAllSourcesTogetherAreLimited(t *testing.T) {
	const burst = 30
	b := newBench(t, answer.DateTime, func(c *Config) { c.Total = Limit{1, burst} })
	began := time.Now()
	for i := range 1000 {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 40000)
		b.run(frame(src, netip.AddrPortFrom(ours4, textPort), nil))
	}
	c := b.sum()[0]
	if n := c[countAnswers] + c[countStale]; n < burst || n > burst+1+uint64(time.Since(began)/time.Second) {
		t.Errorf("%d were answered, want %d", n, burst)
	}
	if c[countAnswers]+c[countTotalLimit] != 1000 {
		t.Errorf("answers and drops do not add up: %v", c)
	}
}

// TestClientIsAnsweredDuringAFloodOfSources: the flood fills the table of buckets many
// times. A client within its rate is still answered.
func TestClientIsAnsweredDuringAFloodOfSources(t *testing.T) {
	flood := 200_000
	if testing.Short() {
		flood /= 10
	}
	b := newBench(t, answer.DateTime, func(c *Config) { c.Source = Limit{2000, 4000} })
	honest := ask(false, textPort, nil)
	for i := range flood {
		src := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 40000)
		b.run(frame(src, netip.AddrPortFrom(ours4, textPort), nil))
		if i%1000 == 0 {
			b.refresh()
			if b.expect(honest) == nil {
				t.Fatal("an honest client got no answer")
			}
		}
	}
}

// TestChanceDecidesOverTheLimit: a flood from one source is answered at the rate of the
// limit, and each of its requests with the same probability.
func TestChanceDecidesOverTheLimit(t *testing.T) {
	if l, want := (Limit{1000, 100}).limiter(), (limit{1e6, 99e6, 1e6 + 99e6/4}); l != want {
		t.Errorf("parameters %+v, want %+v", l, want)
	}
	b := newBench(t, answer.DateTime, func(c *Config) { c.Source = Limit{1000, 100} })
	f := ask(false, textPort, nil)
	for range 2000 { // until the TAT has settled
		b.run(f)
	}
	began, answered, asked := time.Now(), 0, 0
	var byHalf [2]int // of requests at even and at odd places
	for time.Since(began) < 500*time.Millisecond {
		for i := range 2 {
			if verdict, _ := b.run(f); verdict == actionTX {
				answered++
				byHalf[i]++
			}
			asked++
		}
		if asked%1000 == 0 {
			b.refresh()
		}
	}
	want := int(1000 * time.Since(began).Seconds())
	if answered < want*7/10 || answered > want*13/10+30 {
		t.Errorf("%d of %d were answered, want about %d", answered, asked, want)
	}
	if byHalf[0] < answered/3 || byHalf[1] < answered/3 {
		t.Errorf("%v were answered, want about the same number of both", byHalf)
	}
}

// TestConversationsEnd: a run of answers to one port of a source ends after longest/2 to
// longest answers, each number about equally often.
func TestConversationsEnd(t *testing.T) {
	const longest = 20
	b := newBench(t, answer.DateTime, func(c *Config) { c.LongestRun = longest })
	f := ask(false, textPort, nil)
	var ends [longest + 1]int
	const runs = 2200
	for run := range runs {
		n := 0
		for verdict := uint32(actionTX); verdict == actionTX; n++ {
			if verdict, _ = b.run(f); n > longest {
				t.Fatalf("a run of %d answers", n)
			}
		}
		ends[n-1]++
		if run%200 == 0 {
			b.refresh()
		}
	}
	for n, times := range ends {
		if n < longest/2 && times > 0 || n >= longest/2 && (times < runs/11/2 || times > runs/11*2) {
			t.Errorf("%d runs had %d answers: %v", times, n, ends)
		}
	}
	if c := b.sum()[0]; c[countReplyLoop] != runs {
		t.Errorf("%d runs, counters %v", runs, c)
	}
	// Another port and another source have their own runs.
	for port := range uint16(100) {
		for range longest/2 - 1 {
			if b.expect(frame(netip.AddrPortFrom(theirs6, 20000+port), netip.AddrPortFrom(ours6, textPort), nil)) == nil {
				t.Fatal("no answer")
			}
		}
	}
}

// TestFactsAreReadWhole: while the facts are written continuously, no answer mixes two of
// them.
func TestFactsAreReadWhole(t *testing.T) {
	b := newBench(t, answer.DateTime, nil)
	fresh := b.facts.slots[b.facts.generation%2]
	var all [2]slot
	for i := range all {
		all[i] = fresh
		all[i].ntp.stratum = uint8(3 + i)
		all[i].ntp.refID = [4]byte{byte(3 + i), byte(3 + i), byte(3 + i), byte(3 + i)}
		all[i].ntp.reference = [8]byte{7: byte(3 + i)}
	}
	b.facts.write(all[0])
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				b.facts.write(all[i/7%2]) // each several times in a row
			}
		}
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	f, answered := ask(false, ntpPort, ntpRequest(4)), 0
	for range 30_000 {
		verdict, out := b.runOnce(f)
		if verdict != actionTX {
			continue
		}
		answered++
		p, _ := ntp.Parse(out[42:])
		if p.RefID[0] != p.Stratum || byte(p.Reference) != p.Stratum {
			t.Fatalf("%+v", p)
		}
	}
	if answered == 0 {
		t.Error("nothing was answered")
	}
}
