package answer

import (
	"encoding/binary"
	"testing"
	"time"

	"nowd/clock"
	"nowd/ntp"
)

// client returns a client's NTP request of a version.
func client(version uint8) []byte {
	p := ntp.Packet{Version: version, Mode: ntp.ModeClient, Poll: 6, Transmit: 0xfeedfacecafebeef}
	return p.AppendTo(nil)
}

// ntp returns an NTP on f, with the precision of a real clock.
func (f *fake) ntp() *NTP {
	n := NewNTP(clock.New(clock.Config{Now: func() time.Time { return f.now }, Kernel: f}), 10, [4]byte{'N', 'O', 'W', 'D'})
	n.precision = -24
	return n
}

// ask returns n's answer to a request that arrived a millisecond ago.
func (f *fake) ask(t *testing.T, n *NTP, req []byte) ntp.Packet {
	t.Helper()
	b, outcome := n.AppendDatagram(nil, req, len(req), f.now.Add(-time.Millisecond), f.now)
	p, ok := ntp.Parse(b)
	if !ok || len(b) != ntp.HeaderSize || outcome != Answered(NTPForm) {
		t.Fatalf("%d bytes, outcome %d", len(b), outcome)
	}
	return p
}

func TestNTPAnswersClientsOnly(t *testing.T) {
	f := &fake{now: moment}
	n := f.ntp()
	for first := range 256 {
		req := client(4)
		req[0] = byte(first)
		version, mode := first>>3&7, first&7
		want := mode == 3 && version >= 1 && version <= 4
		b, _ := n.AppendDatagram([]byte("x"), req, len(req), f.now, f.now)
		kiss, _ := n.AppendKiss([]byte("x"), req, len(req))
		if got := len(b) == 1+ntp.HeaderSize; got != want || len(kiss) != len(b) || !got && len(b) != 1 {
			t.Errorf("version %d, mode %d: an answer of %d bytes, a kiss of %d", version, mode, len(b)-1, len(kiss)-1)
		}
	}
	for _, size := range []int{0, 1, 47} {
		if b, _ := n.AppendDatagram(nil, client(4)[:size], size, f.now, f.now); len(b) > 0 {
			t.Errorf("a request of %d bytes was answered", size)
		}
	}
	for _, size := range []int{48, 49, 68, 1500} {
		req := append(client(4), make([]byte, size-48)...)
		if b, _ := n.AppendDatagram(nil, req, size, f.now, f.now); len(b) != ntp.HeaderSize {
			t.Errorf("a request of %d bytes got an answer of %d", size, len(b))
		}
	}
}

func TestNTPAnswerBelongsToItsRequest(t *testing.T) {
	f := &fake{now: moment, state: clock.State{MaxError: time.Millisecond}}
	n := f.ntp()
	for version := uint8(1); version <= 4; version++ {
		p := f.ask(t, n, client(version))
		if p.Version != version || p.Mode != ntp.ModeServer || p.Poll != 6 || p.Origin != 0xfeedfacecafebeef {
			t.Errorf("version %d: %+v", version, p)
		}
		if got := p.Receive.Near(moment); !got.Equal(moment.Add(-time.Millisecond)) {
			t.Errorf("received at %v", got)
		}
		if got := p.Transmit.Near(moment); !got.Equal(moment) {
			t.Errorf("sent at %v", got)
		}
	}
	// The clock was set back after the request arrived.
	req := client(4)
	b, _ := n.AppendDatagram(nil, req, len(req), f.now.Add(time.Hour), f.now)
	if p, _ := ntp.Parse(b); p.Receive >= p.Transmit {
		t.Error("the receive timestamp is not before the transmit timestamp")
	}
}

func TestNTPReportsTheQualityOfTheClock(t *testing.T) {
	nowd, up := [4]byte{'N', 'O', 'W', 'D'}, [4]byte{192, 0, 2, 1}
	good := clock.State{MaxError: 2500 * time.Microsecond, Offset: -time.Millisecond}
	measured := clock.Measurement{At: moment.Add(-10 * time.Second), Bound: 3 * time.Millisecond, Life: time.Minute, Stratum: 2, RefID: up, RootDelay: 4 * time.Millisecond}
	for name, c := range map[string]struct {
		f        fake
		m        *clock.Measurement
		leap     ntp.Leap
		stratum  uint8
		refID    ntp.RefID
		distance time.Duration // minimum of half the root delay plus the root dispersion
	}{
		"synchronised":          {fake{state: good}, nil, 0, 10, nowd, 4 * time.Millisecond},
		"leap second inserted":  {fake{state: clock.State{MaxError: time.Millisecond, Leap: clock.LeapInsert}}, nil, 1, 10, nowd, 1500 * time.Microsecond},
		"leap second deleted":   {fake{state: clock.State{MaxError: time.Millisecond, Leap: clock.LeapDelete}}, nil, 2, 10, nowd, 1500 * time.Microsecond},
		"a large error":         {fake{state: clock.State{MaxError: 15 * time.Second}}, nil, 0, 10, nowd, 15*time.Second + 500*time.Microsecond},
		"unsynchronised kernel": {fake{state: clock.State{MaxError: 16 * time.Second, Leap: clock.LeapInsert}}, nil, 3, 0, ntp.KissInit.RefID(), 16 * time.Second},
		"no kernel state":       {fake{err: clock.ErrUnsupported}, nil, 3, 0, ntp.KissInit.RefID(), 16 * time.Second},
		"a fault":               {fake{state: clock.State{Faulty: true, MaxError: time.Millisecond}}, nil, 3, 0, ntp.KissInit.RefID(), 1500 * time.Microsecond},
		"an upstream":           {fake{state: good}, &measured, 0, 3, up, 4 * time.Millisecond},
		"an upstream alone":     {fake{state: clock.State{MaxError: 16 * time.Second}}, &measured, 0, 3, up, 8 * time.Millisecond},
		"a contradiction":       {fake{state: good}, &clock.Measurement{At: moment, Offset: time.Second, Bound: time.Millisecond, Life: time.Minute, Stratum: 2}, 3, 0, ntp.KissInit.RefID(), 1002 * time.Millisecond},
		"the last stratum":      {fake{state: good}, &clock.Measurement{At: moment, Bound: time.Millisecond, Life: time.Minute, Stratum: 15}, 0, 10, nowd, 2 * time.Millisecond},
		"no stratum":            {fake{state: good}, &clock.Measurement{At: moment, Bound: time.Millisecond, Life: time.Minute, Stratum: 255}, 0, 10, nowd, 2 * time.Millisecond},
		"a delay above all":     {fake{state: good}, &clock.Measurement{At: moment, Bound: time.Second, Life: time.Minute, Stratum: 1, RefID: up, RootDelay: 2 * time.Second}, 0, 2, up, time.Second},
		"a distant era, synced": {fake{now: time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC), state: good}, nil, 0, 10, nowd, 4 * time.Millisecond},
	} {
		if c.f.now.IsZero() {
			c.f.now = moment
		}
		n := c.f.ntp()
		if c.m != nil {
			n.clock.SetMeasurement(*c.m)
		}
		p := c.f.ask(t, n, client(4))
		if p.Leap != c.leap || p.Stratum != c.stratum || p.RefID != c.refID || p.Precision != -24 {
			t.Errorf("%s: %+v", name, p)
		}
		if d := time.Duration((uint64(p.RootDelay) + 2*uint64(p.RootDispersion)) * uint64(time.Second) >> 17); d < c.distance || d > c.distance+100*time.Microsecond {
			t.Errorf("%s: root distance %v, want %v", name, d, c.distance)
		}
		if c.m == nil && p.RootDelay != 0 || c.m != nil && p.RootDelay != ntp.ShortOf(c.m.RootDelay) {
			t.Errorf("%s: root delay %d", name, p.RootDelay)
		}
		want := c.f.now
		if c.m != nil {
			want = c.m.At
		}
		if got := p.Reference.Near(moment); p.Reference == 0 || !got.Equal(want) && p.Reference != 1 {
			t.Errorf("%s: reference time %v, want %v", name, got, want)
		}
	}
}

func TestReferenceTimeIsNeverAheadOfTheAnswer(t *testing.T) {
	f := &fake{now: moment, state: clock.State{MaxError: time.Millisecond}}
	n := f.ntp()
	n.clock.Quality(f.now.Add(300 * time.Millisecond)) // as another loop may do
	if p := f.ask(t, n, client(4)); p.Reference > p.Transmit {
		t.Errorf("%+v", p)
	}
}

func TestNTPCrosses2036(t *testing.T) {
	f := &fake{state: clock.State{MaxError: time.Millisecond}}
	wrap := time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)
	for _, d := range []time.Duration{-365 * 24 * time.Hour, -time.Second, -500 * time.Microsecond, -1, 0, 1, 500 * time.Microsecond, time.Second, 365 * 24 * time.Hour} {
		f.now = wrap.Add(d)
		n := f.ntp()
		p := f.ask(t, n, client(4))
		// A client computes differences modulo an era.
		if took := int64(p.Transmit - p.Receive); (took-1<<32/1000)/8 != 0 {
			t.Errorf("%v: transmit minus receive timestamp is %d units", d, took)
		}
		if p.Receive == 0 || p.Transmit == 0 || p.Reference == 0 {
			t.Errorf("%v: a timestamp is 0: %+v", d, p)
		}
		if got := p.Transmit.Near(wrap).Sub(f.now).Abs(); got > 1 {
			t.Errorf("%v: off by %v", d, got)
		}
	}
}

func TestKissHasNoTime(t *testing.T) {
	f := &fake{now: moment, state: clock.State{MaxError: time.Millisecond}}
	n := f.ntp()
	for poll, want := range map[int8]int8{-128: 6, 0: 6, 6: 6, 10: 10, 17: 17, 18: 17, 127: 17} {
		req := client(3)
		req[2] = byte(poll)
		b, outcome := n.AppendKiss(nil, req, len(req))
		p, _ := ntp.Parse(b)
		if len(b) != ntp.HeaderSize || outcome != Answered(KissForm) || p.Leap != 3 || p.Stratum != 0 || string(p.RefID[:]) != "RATE" || p.Version != 3 || p.Mode != ntp.ModeServer {
			t.Errorf("outcome %d: %+v", outcome, p)
		}
		const own = 0xfeedfacecafebeef
		if p.Origin != own || p.Receive != own || p.Transmit != own || p.Reference != own {
			t.Errorf("a timestamp is not the client's own: %+v", p)
		}
		if p.Poll != want {
			t.Errorf("request with poll %d: the kiss has poll %d, want %d", poll, p.Poll, want)
		}
	}
}

func TestPrecisionIsRoundedUp(t *testing.T) {
	for tick, want := range map[time.Duration]int8{
		1: -29, 2: -28, 45: -24, 59: -24, 60: -23, time.Microsecond: -19, time.Millisecond: -9, time.Second / 4: -2, time.Second / 2: -1, 0: -1,
	} {
		now := moment
		if got := precision(func() time.Time { now = now.Add(tick); return now }); got != want {
			t.Errorf("ticks of %v: %d, want %d", tick, got, want)
		}
	}
	if got := precision(time.Now); got > -10 || got < -29 {
		t.Errorf("this host's precision is %d, want -29 to -10", got)
	}
}

func TestNTPAllocatesNothing(t *testing.T) {
	c := clock.New(clock.Config{})
	n := NewNTP(c, 10, [4]byte{})
	req, buf := client(4), make([]byte, 0, ntp.HeaderSize)
	if a := testing.AllocsPerRun(1000, func() { n.AppendDatagram(buf, req, len(req), c.Now(), c.Now()) }); a != 0 {
		t.Errorf("%v allocations", a)
	}
	if a := testing.AllocsPerRun(1000, func() { n.AppendKiss(buf, req, len(req)) }); a != 0 {
		t.Errorf("a kiss: %v allocations", a)
	}
}

func BenchmarkNTP(b *testing.B) {
	c := clock.New(clock.Config{})
	n := NewNTP(c, 10, [4]byte{})
	req, buf := client(4), make([]byte, 0, ntp.HeaderSize)
	b.ReportAllocs()
	for b.Loop() {
		now := c.Now()
		n.AppendDatagram(buf, req, len(req), now, now)
	}
}

func BenchmarkIsAnswerOfTimeSize(b *testing.B) {
	for name, r := range map[string][]byte{"text": []byte("hi\n"), "ntp": client(4), "time": binary.BigEndian.AppendUint32(nil, 4000000000)} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				IsAnswer(r)
			}
		})
	}
}
