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

func TestAnyTwoMembersAreAtMostTwoLinksApart(t *testing.T) {
	sizes := []int{1000, 1023, 1500, 2500}
	for n := 2; n <= 300; n++ {
		sizes = append(sizes, n)
	}
	for _, n := range sizes {
		near := map[int]bool{0: true} // distances on the ring that at most two links span
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
			t.Errorf("only %d of %d members are within two links: offsets %v", len(near), n, offsets)
		}
		if most := math.Sqrt(float64(n)) + 1.5; float64(len(offsets)) > most {
			t.Errorf("each of %d members measures %d, want at most %.1f", n, len(offsets), most)
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

// TestNewMemberChangesFewLinks: if the offsets change with the size of the ring, only the
// links to far members change.
func TestNewMemberChangesFewLinks(t *testing.T) {
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
	// The links that span the new member change.
	if changed > links/3 {
		t.Errorf("%d of %d links changed, want at most a third", changed, links)
	}
}

func TestMemberDoesNotMeasureItself(t *testing.T) {
	for n := 1; n < 20; n++ {
		all := members(n)
		r := newRing(all)
		for i, m := range all {
			self := []netip.AddrPort{m, all[(i+1)%n]} // for example an IPv4 and an IPv6 address
			for _, target := range r.targets(self) {
				if slices.Contains(self, target) {
					t.Errorf("%d members: %v measures itself", n, m)
				}
			}
		}
	}
}
