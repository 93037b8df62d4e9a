package guard

import "time"

// rate is a rate limit by the generic cell rate algorithm (GCRA, ITU-T I.371, annex
// A), which equals a token bucket. The state of a bucket is one number, its
// theoretical arrival time (TAT): when it will be full, in nanoseconds on the
// caller's monotonic clock. A TAT in the past is a full bucket.
type rate struct {
	interval  int64 // emission interval: between two tokens, in nanoseconds
	tolerance int64 // how far the TAT may be ahead of the time, in nanoseconds
}

// newRate returns a limit of perSecond tokens a second and burst tokens at once. Both
// must be at least 1.
func newRate(perSecond, burst int) rate {
	interval := max(1, int64(time.Second)/int64(perSecond))
	return rate{interval, int64(burst-1) * interval}
}

// allow takes a token out of the bucket with this TAT, if it holds one at now. It
// returns the new TAT, and whether there was a token.
func (r rate) allow(tat int64, now time.Duration) (newTAT int64, ok bool) {
	tat = max(tat, int64(now))
	if tat-int64(now) > r.tolerance {
		return tat, false
	}
	return tat + r.interval, true
}

// Bucket is a token bucket. It is for one goroutine.
type Bucket struct {
	rate
	tat int64
}

// NewBucket returns a full bucket that gains perSecond tokens a second and holds at
// most burst. Both must be at least 1.
func NewBucket(perSecond, burst int) *Bucket { return &Bucket{rate: newRate(perSecond, burst)} }

// Allow takes a token and returns true if the bucket holds one at now. now is on a
// monotonic clock.
func (b *Bucket) Allow(now time.Duration) (ok bool) {
	b.tat, ok = b.allow(b.tat, now)
	return ok
}
