package upstream

import (
	"time"

	"nowd/clock"
)

// combine returns the measurement that a majority of the servers agrees on, or nil without
// a majority. measurements has one for each server that answered; servers is the number of
// all servers. Silent servers count: otherwise a falseticker would decide alone while an
// attacker blocks the others.
//
// If the largest number of measurements overlaps in several intervals, the result is their
// hull, since the true time may be in any of them. The other fields come from the
// measurement with the smallest bound that overlaps the result. combine ages the
// measurements to the time of the latest.
func combine(measurements []*clock.Measurement, servers int) *clock.Measurement {
	ageToLatest(measurements)
	var intervals []clock.Interval
	for _, m := range measurements {
		intervals = append(intervals, m.Interval())
	}
	shared := clock.Majority(intervals, servers)
	if shared == nil {
		return nil
	}
	hull := shared[0].Hull(shared[len(shared)-1])
	agreed := clock.Measurement{Bound: (hull.High - hull.Low + 1) / 2} // rounded up
	agreed.Offset = hull.Low + agreed.Bound
	var best *clock.Measurement
	for _, m := range measurements {
		if !m.Interval().Disjoint(agreed.Interval()) && (best == nil || m.Bound < best.Bound) {
			best = m
		}
	}
	result := *best
	result.Offset, result.Bound = agreed.Offset, agreed.Bound
	return &result
}

// ageToLatest ages each measurement to the time of the latest: its bound grows by drift, as
// in package clock.
func ageToLatest(measurements []*clock.Measurement) {
	var latest time.Time
	for _, m := range measurements {
		if latest.IsZero() || m.At.After(latest) {
			latest = m.At
		}
	}
	for _, m := range measurements {
		m.Bound += clock.DriftOver(latest.Sub(m.At))
		m.At = latest
	}
}
