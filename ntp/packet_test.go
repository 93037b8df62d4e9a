package ntp

import (
	"bytes"
	"testing"
)

func TestParseAndAppendToAreInverse(t *testing.T) {
	b := make([]byte, HeaderSize)
	for i := range b {
		b[i] = byte(i*37 + 0x5c)
	}
	if p, ok := Parse(b); !ok || !bytes.Equal(p.AppendTo(nil), b) {
		t.Errorf("%x was decoded as %+v, and encoded differently", b, p)
	}
}

func TestShortPacketIsRefused(t *testing.T) {
	for n := range HeaderSize {
		if p, ok := Parse(make([]byte, n)); ok {
			t.Errorf("%d bytes were decoded as %+v", n, p)
		}
	}
}

// The layout is that of RFC 5905, figure 8.
func TestPacketHasTheLayoutOfTheRFC(t *testing.T) {
	p := Packet{
		Leap: LeapUnsynchronized, Version: 4, Mode: ModeServer, Stratum: 2, Poll: 6, Precision: -20,
		RootDelay: 0x01020304, RootDispersion: 0x05060708, RefID: KissRate.RefID(),
		Reference: 0x1112131415161718, Origin: 0x2122232425262728, Receive: 0x3132333435363738, Transmit: 0x4142434445464748,
	}
	want := []byte("\xe4\x02\x06\xec\x01\x02\x03\x04\x05\x06\x07\x08RATE\x11\x12\x13\x14\x15\x16\x17\x18" +
		"\x21\x22\x23\x24\x25\x26\x27\x28\x31\x32\x33\x34\x35\x36\x37\x38\x41\x42\x43\x44\x45\x46\x47\x48")
	if got := p.AppendTo(nil); !bytes.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}
