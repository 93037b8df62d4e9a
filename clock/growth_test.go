package clock

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestGrowthIsThatOfTheError: for any state of the kernel and any measurement.
func TestGrowthIsThatOfTheError(t *testing.T) {
	rng := rand.New(rand.NewPCG(5905, 9))
	duration := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most) + 1)) }
	at := time.Date(2026, 11, 26, 1, 2, 3, 456789012, time.UTC)
	var greater, unknown int
	for range 50_000 {
		q := &Quality{At: at, floor: duration(time.Millisecond)}
		q.MaxError = []time.Duration{duration(20 * time.Second), duration(time.Millisecond)}[rng.IntN(2)]
		q.Offset = duration(2*time.Millisecond) - time.Millisecond
		q.Faulty = rng.IntN(4) == 0
		if rng.IntN(5) == 0 {
			q.Err = ErrUnsupported
		}
		if rng.IntN(3) > 0 {
			q.upstream = &Measurement{At: at.Add(-duration(time.Minute)), Offset: duration(4*time.Millisecond) - 2*time.Millisecond, Bound: duration(4 * time.Millisecond)}
		}
		q.compareSources()
		g := q.Growth(MaxErrorLimit)
		for range 5 {
			now := at.Add(duration(4 * time.Second))
			want, ok := q.Error(now)
			if !ok {
				want = MaxErrorLimit
				unknown++
			}
			if g.Greater {
				greater++
			}
			if got := g.Error(now); got != want {
				t.Fatalf("%+v, upstream %+v, %v later: %v, want %v", q, q.upstream, now.Sub(at), got, want)
			}
		}
	}
	if greater == 0 || unknown == 0 {
		t.Errorf("%d states with the greater bound, %d without a bound; want some of each", greater, unknown)
	}
}
