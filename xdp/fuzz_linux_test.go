package xdp

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"nowd/answer"
	"nowd/clock"
)

// TestRandomFramesAreTreatedAsByTheModel: for a million frames, valid ones, broken ones and
// noise, the verdict, the counters and every byte equal the model's.
func TestRandomFramesAreTreatedAsByTheModel(t *testing.T) {
	frames := 1_000_000
	if testing.Short() {
		frames = 30_000
	}
	forms := []answer.Form{answer.DateTime, answer.RFC3339, answer.Unix, answer.UnixMS, answer.UnixUS, answer.UnixNS}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 8))
	answered, stopped := 0, 0
	for _, form := range forms {
		b := newBench(t, form, func(c *Config) { c.MinRequest = rng.IntN(2) })
		b.newline = rng.IntN(2) == 0
		b.zone = time.FixedZone("", (rng.IntN(105)-48)*900)
		refreshed := time.Time{}
		for range frames / len(forms) {
			if time.Since(refreshed) > 300*time.Millisecond { // in the model, the clock state does not age
				b.kernel.state = clock.State{MaxError: time.Duration(rng.Int64N(int64(20 * time.Second))), Offset: time.Duration(rng.Int64N(2001) - 1000), Faulty: rng.IntN(4) == 0}
				b.measure = nil
				if rng.IntN(2) == 0 {
					b.measure = &clock.Measurement{Bound: time.Duration(rng.Int64N(1e9)), Offset: time.Duration(rng.Int64N(1e9) - 5e8), Stratum: uint8(rng.IntN(16)), RootDelay: time.Duration(rng.Int64N(1e8)), Life: time.Hour}
				}
				b.refresh()
				refreshed = time.Now()
			}
			f := randomFrame(rng)
			if b.expect(f) != nil {
				answered++
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		stopped += b.stopped
	}
	t.Logf("%d of %d frames were answered; %d runs were delayed", answered, frames, stopped)
	if answered < frames/4 || answered > frames*3/4 {
		t.Errorf("%d of %d frames were answered: the frames are not well mixed", answered, frames)
	}
	if stopped > frames/100 {
		t.Errorf("%d runs passed the frame as stale", stopped)
	}
}

// randomFrame returns a valid frame with no changes or a few.
func randomFrame(rng *rand.Rand) []byte {
	pick := func(from ...string) netip.Addr { return netip.MustParseAddr(from[rng.IntN(len(from))]) }
	port := func(usual uint16) uint16 {
		switch rng.IntN(8) {
		case 0:
			return []uint16{0, 7, 53, 123, 1023, 1024, 3333, 3337, 65535}[rng.IntN(9)]
		case 1:
			return uint16(rng.Uint32())
		}
		return usual
	}
	src, dst := pick("192.0.2.7"), pick("192.0.2.1")
	if rng.IntN(2) == 0 {
		src, dst = pick("2001:db8::7", "fe80::7"), pick("2001:db8::1", "fe80::1")
	}
	if rng.IntN(20) == 0 {
		src, dst = pick("0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "10.1.2.3"), pick("192.0.2.1", "192.0.2.255", "10.0.0.1", "224.0.0.1")
		if rng.IntN(2) == 0 {
			src, dst = pick("::", "::1", "::ffff:1.2.3.4", "ff02::1", "2001:db8::1", "fe80::1", "fd00::9"), pick("2001:db8::1", "fe80::1", "ff02::101", "2001:db8::2")
		}
	}
	var request []byte
	usual := uint16(textPort)
	switch rng.IntN(9) {
	case 0: // of any length
		request = make([]byte, rng.IntN(90))
		usual = []uint16{textPort, ntpPort}[rng.IntN(2)]
	case 1, 2, 3, 4:
		request, usual = ntpRequest(uint8(1+rng.IntN(4))), ntpPort
		for i := range 48 {
			if i > 0 {
				request[i] = byte(rng.Uint32())
			}
		}
		if rng.IntN(10) == 0 {
			request[0] = byte(rng.Uint32())
		}
	default:
		request = make([]byte, rng.IntN(5))
		for i := range request {
			request[i] = byte(rng.Uint32())
		}
	}
	f := frame(netip.AddrPortFrom(src, port(40000)), netip.AddrPortFrom(dst, port(usual)), request)
	if len(f) < 60 && rng.IntN(2) == 0 {
		f = append(f, make([]byte, rng.IntN(25))...)
	}
	switch rng.IntN(24) {
	case 0, 1, 2: // flip a bit
		f[rng.IntN(len(f))] ^= 1 << rng.IntN(8)
	case 3: // change a byte of the headers
		f[rng.IntN(min(len(f), 62))] = byte(rng.Uint32())
	case 4: // truncate
		f = f[:14+rng.IntN(len(f)-13)]
	case 5: // extend
		f = append(f, make([]byte, 1+rng.IntN(100))...)
	case 6: // add one or two VLAN tags
		for range 1 + rng.IntN(2) {
			f = append(append(append([]byte(nil), f[:12]...), 0x81, 0, 0, byte(rng.Uint32())), f[12:]...)
		}
	case 7: // noise
		f = make([]byte, 14+rng.IntN(200))
		for i := range f {
			f[i] = byte(rng.Uint32())
		}
	case 8: // flip a bit of the IPv4 header, with a correct checksum
		if f[12] == 8 && f[13] == 0 && len(f) >= 34 {
			f[14+rng.IntN(10)] ^= 1 << rng.IntN(8)
			f[24], f[25] = 0, 0
			sum := checksum(f[14:34])
			f[24], f[25] = byte(sum>>8), byte(sum)
		}
	}
	return f
}
