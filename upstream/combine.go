package upstream

import (
	"time"

	"nowd/clock"
)

// combine returns what the majority of the servers agrees on, or nil without a
// majority. There is one measurement of each server that answered; servers is
// how many there are. Silent servers count: otherwise a falseticker would decide
// alone while the others are kept from answering.
//
// Where the most measurements share several intervals, the result is the hull of
// them, since the true time can be in each. The result's other fields are those
// of the measurement in it with the least bound. combine ages the measurements
// to the time of the latest.
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

// ageToLatest brings each measurement to the time of the latest. Its bound grows
// by drift, as it does within package clock.
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
