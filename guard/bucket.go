package guard

import "time"

// pace is what token buckets of one kind have in common. They are in the form of
// the generic cell rate algorithm (ITU-T I.371, annex A): of a bucket not the
// tokens are kept but the time at which it will be full again, if it is not.
type pace struct {
	interval int64 // between two tokens, in nanoseconds
	slack    int64 // how far ahead the time may be
}

// newPace returns the pace of rate tokens a second and room for burst, both at
// least 1.
func newPace(rate, burst int) pace {
	interval := max(1, int64(time.Second)/int64(rate))
	return pace{interval, int64(burst-1) * interval}
}

// take takes a token of the bucket that is full at full, and returns when it is
// full then.
func (p pace) take(full int64, now time.Duration) (int64, bool) {
	full = max(full, int64(now))
	if full-int64(now) > p.slack {
		return full, false
	}
	return full + p.interval, true
}

// Bucket is a token bucket. It belongs to one goroutine.
type Bucket struct {
	pace
	full int64
}

// NewBucket returns a full bucket of rate tokens a second and room for burst,
// both at least 1.
func NewBucket(rate, burst int) *Bucket { return &Bucket{pace: newPace(rate, burst)} }

// Allow takes a token, if there is one at now, which is on a monotonic clock.
func (b *Bucket) Allow(now time.Duration) (ok bool) {
	b.full, ok = b.take(b.full, now)
	return ok
}
