package clock

import (
	"math"
	"time"
)

// Growth describes how the Error of a Quality grows while the clock is not
// stepped. It is for programs that cannot call Error, such as the one of package
// xdp.
//
// There are two bounds. The kernel's grows by KernelRate with each whole second
// since KernelAt. The upstream's grows by DriftOver of the time since UpstreamAt.
// The error is the lesser of the two, or the greater if Greater is set. A bound
// that is not known is NoBound, with a rate of 0.
type Growth struct {
	Kernel     time.Duration
	KernelAt   time.Time
	KernelRate time.Duration
	Upstream   time.Duration
	UpstreamAt time.Time
	Greater    bool
}

// NoBound is above every error bound. It is far enough below the greatest
// Duration that adding a growth to it does not overflow.
const NoBound = time.Duration(math.MaxInt64 / 2)

// Growth returns how Error grows from At on. If no bound is known, the bound is
// the given unknown, and does not grow.
func (q *Quality) Growth(unknown time.Duration) Growth {
	g := Growth{Kernel: NoBound, KernelAt: q.At, Upstream: NoBound, UpstreamAt: q.At}
	if q.kernelClaims() {
		// kernelInterval counts the second in which the state was read, and one more
		// before it.
		g.KernelAt = q.At.Add(1 - 2*time.Second)
		g.Kernel, g.KernelRate = q.Offset.Abs()+q.MaxError+q.floor, MaxDrift
	}
	if m := q.upstream; m != nil {
		shift := max(max(0, q.Offset)-m.Offset, m.Offset-min(0, q.Offset))
		g.Upstream, g.UpstreamAt = m.Bound+1+shift+q.floor, m.At
	}
	g.Greater = q.kernelClaims() && q.upstream != nil && (q.contradicted || q.Faulty)
	if g.Kernel == NoBound && g.Upstream == NoBound {
		g.Kernel = unknown
	}
	return g
}

// Error returns the error bound at t. t must not be before the Quality's At.
func (g Growth) Error(t time.Time) time.Duration {
	kernel := g.Kernel + t.Sub(g.KernelAt)/time.Second*g.KernelRate
	upstream := g.Upstream + DriftOver(max(0, t.Sub(g.UpstreamAt)))
	if g.Greater {
		return max(kernel, upstream)
	}
	return min(kernel, upstream)
}
