package peers

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"testing"
)

// members returns the addresses of n members.
func members(n int) (all []netip.AddrPort) {
	for i := range n {
		all = append(all, netip.MustParseAddrPort(fmt.Sprintf("10.%d.%d.%d:123", i>>16, i>>8&255, i&255)))
	}
	return all
}

func TestAnyTwoMembersAreTwoLinksApart(t *testing.T) {
	sizes := []int{1000, 1023, 1500, 2500}
	for n := 2; n <= 300; n++ {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		near := map[int]bool{0: true} // differences on the ring that two links at most make
		offsets := Offsets(n)
		for _, d := range offsets {
			for _, a := range [...]int{d, -d} {
				near[(a+n)%n] = true
				for _, e := range offsets {
					near[(a+e+2*n)%n], near[(a-e+2*n)%n] = true, true
				}
			}
		}
		if len(near) != n {
			t.Errorf("of %d members, only %d are within two links: offsets %v", n, len(near), offsets)
		}
		if most := math.Sqrt(float64(n)) + 1.5; float64(len(offsets)) > most {
			t.Errorf("of %d members, each measures %d", n, len(offsets))
		}
	}
}

func TestAllMembersAgreeOnTheRing(t *testing.T) {
	all := members(50)
	want := newRing(all)
	slices.Reverse(all)
	if got := newRing(append(all, all[7])); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestOneMemberMoreChangesLittle allows for a ring whose size changes the
// offsets: then the far links are others, but the near ones stay.
func TestOneMemberMoreChangesLittle(t *testing.T) {
	const n = 100
	all := members(n + 1)
	before, after := newRing(all[:n]), newRing(all)
	changed, links := 0, 0
	for _, m := range all[:n] {
		old := before.targets([]netip.AddrPort{m})
		links += len(old)
		for _, target := range after.targets([]netip.AddrPort{m}) {
			if !slices.Contains(old, target) {
				changed++
			}
		}
	}
	// Of the links around the ring, those change that span the newcomer.
	if changed > links/3 {
		t.Errorf("%d of %d links change", changed, links)
	}
}

func TestMemberDoesNotMeasureItself(t *testing.T) {
	for n := 1; n < 20; n++ {
		all := members(n)
		r := newRing(all)
		for i, m := range all {
			self := []netip.AddrPort{m, all[(i+1)%n]} // as where it has an address of IPv4 and one of IPv6
			for _, target := range r.targets(self) {
				if slices.Contains(self, target) {
					t.Errorf("of %d members, %v measures itself", n, m)
				}
			}
		}
	}
}
