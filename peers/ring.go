package peers

import (
	"bytes"
	"crypto/sha256"
	"math"
	"net/netip"
	"slices"
)

// ring is a cluster's members in the order of the hashes of their addresses. All members
// that know the same members compute the same ring. Adding or removing a member does not
// change the order of the others.
type ring []netip.AddrPort

// newRing returns the ring of members. It drops duplicates.
func newRing(members []netip.AddrPort) ring {
	type placed struct {
		member netip.AddrPort
		place  [sha256.Size]byte
	}
	all := make([]placed, len(members))
	for i, m := range members {
		all[i] = placed{m, sha256.Sum256([]byte(m.String()))}
	}
	slices.SortFunc(all, func(a, b placed) int { return bytes.Compare(a.place[:], b.place[:]) })
	r := make(ring, len(all))
	for i, p := range all {
		r[i] = p.member
	}
	return slices.Compact(r)
}

// targets returns the members that a member measures. self are all addresses of that
// member; it does not measure them.
func (r ring) targets(self []netip.AddrPort) (targets []netip.AddrPort) {
	for _, own := range self {
		at := slices.Index(r, own)
		if at < 0 {
			continue
		}
		for _, offset := range Offsets(len(r)) {
			if to := r[(at+offset)%len(r)]; !slices.Contains(self, to) {
				targets = append(targets, to)
			}
		}
	}
	slices.SortFunc(targets, netip.AddrPort.Compare)
	return slices.Compact(targets)
}

// Offsets returns the offsets on a ring of n members: each member measures those at these
// distances ahead of it. They are 1 to a, and the multiples of 2a+1 up to n/2+a, with
// a ≈ √n/2.
//
// Every distance on the ring is at most n/2. It is a multiple of 2a+1 plus or minus at most
// a. So any two members are linked, or both are linked with a third one. Each measures about
// √n members.
func Offsets(n int) (offsets []int) {
	if n < 2 {
		return nil
	}
	a := max(1, int(math.Round(math.Sqrt(float64(n))/2)))
	for d := 1; d <= min(a, n/2); d++ {
		offsets = append(offsets, d)
	}
	stride := 2*a + 1
	for d := stride; d <= min(n/2+a, n-1); d += stride {
		offsets = append(offsets, d)
	}
	return offsets
}
