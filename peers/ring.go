package peers

import (
	"bytes"
	"crypto/sha256"
	"math"
	"net/netip"
	"slices"
)

// ring is the order of a cluster's members: by the hash of their addresses. So it
// is the same for all who know the same members, and one member more or less
// moves nobody but itself.
type ring []netip.AddrPort

// newRing returns the ring of members. It leaves out repetitions.
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

// targets returns the members that one of them measures, without those in self,
// which are all of its own addresses.
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

// Offsets returns how far ahead on a ring of n the members are that each one
// measures: {1 … a} and the multiples of 2a+1 up to n/2+a, with a ≈ √n/2.
//
// Every distance on the ring is n/2 at most, and a multiple of 2a+1 and a rest of
// a at most in either direction. So any two members have a third one that is
// linked with both, if they are not linked themselves. Each measures about √n
// members.
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
