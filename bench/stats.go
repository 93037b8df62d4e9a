//go:build linux

package main

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// spread is a median and the lower and upper quartiles.
type spread struct {
	Q1     float64 `json:"q1"`
	Median float64 `json:"median"`
	Q3     float64 `json:"q3"`
}

// spreadOf returns the spread of values, with linear interpolation between neighbours. It
// is zero without values.
func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	return spread{quantile(sorted, 0.25), quantile(sorted, 0.5), quantile(sorted, 0.75)}
}

func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	whole, part := math.Modf(q * float64(len(sorted)-1))
	i := int(whole)
	if part == 0 {
		return sorted[i]
	}
	return sorted[i] + part*(sorted[i+1]-sorted[i])
}

// histogram counts durations in a fixed amount of memory. Its quantiles are exact to one
// part in 128. Durations below 128 ns and the longest one are exact.
type histogram struct {
	counts  [(maxBits - stepBits + 1) << stepBits]uint64
	total   uint64
	longest time.Duration
}

const (
	stepBits = 6  // each power of two has 1<<stepBits steps
	maxBits  = 40 // longer durations, from 18 minutes on, count as 18 minutes
)

// add counts a duration. A negative one counts as zero.
func (h *histogram) add(d time.Duration) {
	v := uint64(min(max(d, 0), 1<<maxBits-1))
	power := max(0, bits.Len64(v)-stepBits-1)
	h.counts[uint64(power)<<stepBits+v>>power]++
	h.total++
	h.longest = max(h.longest, d)
}

// quantile returns the duration that a share q of all durations do not exceed. It is 0 if
// there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(math.Ceil(q * float64(h.total)))
	var seen uint64
	for i, n := range h.counts {
		if seen += n; n > 0 && seen >= rank {
			power := max(0, i>>stepBits-1)
			low := time.Duration(i-power<<stepBits) << power
			return min(low+1<<power/2, h.longest)
		}
	}
	return 0
}

// percentiles is the summary of a histogram.
type percentiles struct {
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
}

func (h *histogram) percentiles() percentiles {
	return percentiles{h.quantile(0.5), h.quantile(0.99), h.longest}
}
