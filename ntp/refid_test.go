package ntp

import (
	"net/netip"
	"testing"
)

func TestReferenceIdIsTheServersAddress(t *testing.T) {
	for address, want := range map[string]RefID{
		"192.0.2.7":        {192, 0, 2, 7},
		"::ffff:192.0.2.7": {192, 0, 2, 7},
		"2001:db8::1":      {0x39, 0xab, 0x9b, 0x37},
	} {
		if got := RefIDOf(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %x, want %x", address, got, want)
		}
	}
	if got := RefIDOf(netip.Addr{}); got != (RefID{}) {
		t.Errorf("of an invalid address: %x, want zero", got)
	}
}
