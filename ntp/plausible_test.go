package ntp

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"
)

// TestImplausibleAnswerIsIgnored: one field of the answer is out of its range.
func TestImplausibleAnswerIsIgnored(t *testing.T) {
	second := Time(1 << 32)
	for name, change := range map[string]func(p *Packet){
		"version 0":         func(p *Packet) { p.Version = 0 },
		"version 5":         func(p *Packet) { p.Version = 5 },
		"stratum 17":        func(p *Packet) { p.Stratum = 17 },
		"poll":              func(p *Packet) { p.Poll = 25 },
		"poll, negative":    func(p *Packet) { p.Poll = -8 },
		"precision, coarse": func(p *Packet) { p.Precision = 40 },
		"precision, fine":   func(p *Packet) { p.Precision = -33 },
		"no receive":        func(p *Packet) { p.Receive = 0 },
		"no transmit":       func(p *Packet) { p.Transmit, p.Reference = 0, 0 },
		"processing":        func(p *Packet) { p.Transmit += 1000 * second },
		"sent early":        func(p *Packet) { p.Receive += second / 100 },
		"of a server that is not synchronised yet": func(p *Packet) {
			p.Leap, p.Stratum, p.RefID = LeapUnsynchronized, StratumUnspecified, KissInit.RefID()
			p.Transmit += 1000 * second
		},
		"root delay":           func(p *Packet) { p.RootDelay = 32 << 16 },
		"root dispersion":      func(p *Packet) { p.RootDispersion = 16<<16 + 1 },
		"reference, old":       func(p *Packet) { p.Reference -= second * (1<<17 + 1) },
		"reference, in future": func(p *Packet) { p.Reference = p.Transmit + 1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := exchange(t, 300*time.Millisecond, func(req []byte) [][]byte { return [][]byte{with(goodAnswer(req), change)} })
			var timeout net.Error
			if !errors.Is(err, ErrImplausible) || !errors.As(err, &timeout) || !timeout.Timeout() || !strings.Contains(err.Error(), ": ") {
				t.Errorf("%v, want a timeout that names the implausible field", err)
			}
		})
	}
}

// TestPlausibleAnswerIsAccepted: fields are at the ends of their ranges.
func TestPlausibleAnswerIsAccepted(t *testing.T) {
	second := Time(1 << 32)
	for name, change := range map[string]func(p *Packet){
		"version 1":        func(p *Packet) { p.Version = 1 },
		"poll":             func(p *Packet) { p.Poll = 24 },
		"poll, negative":   func(p *Packet) { p.Poll = -7 },
		"a coarse clock":   func(p *Packet) { p.Precision, p.Transmit = 0, p.Transmit+second },
		"a fine clock":     func(p *Packet) { p.Precision = -32 },
		"root distance":    func(p *Packet) { p.RootDelay, p.RootDispersion = 8<<16, 12<<16 },
		"never set":        func(p *Packet) { p.Reference = 0 },
		"set long ago":     func(p *Packet) { p.Reference -= second * (1 << 17) },
		"not synchronised": func(p *Packet) { p.Stratum, p.RootDispersion, p.Reference = StratumUnsynchronized, 0xffffffff, 1 },
		"a kiss without a time": func(p *Packet) {
			p.Leap, p.Stratum, p.RefID = LeapUnsynchronized, StratumUnspecified, KissRate.RefID()
			p.Receive = p.Transmit - 1000*second
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r, err := exchange(t, 10*time.Second, func(req []byte) [][]byte { return [][]byte{with(goodAnswer(req), change)} }); err != nil {
				t.Errorf("%+v, %v; want a response", r, err)
			}
		})
	}
}
