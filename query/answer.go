package query

import (
	"math"
	"time"

	"nowd/clock"
)

// Sync is what a host says of its clock's synchronisation.
type Sync uint8

const (
	SyncUnknown Sync = iota // it does not say
	Synced
	Unsynced
)

// String returns "-", "synced" or "unsynced".
func (s Sync) String() string { return [...]string{"-", "synced", "unsynced"}[s] }

// Reading is a host's reading of its clock, as far as its answer tells it. The
// zero value tells nothing.
type Reading struct {
	Time      time.Time     // zero if the answer tells none that can be compared
	Precision time.Duration // Time is truncated to a multiple of this

	Sync     Sync
	HasBound bool
	Bound    time.Duration // error bound of the clock as the host says, if HasBound
	Leap     string        // none, insert or delete; empty if unknown
	Stratum  int           // of NTP; 0 if unknown
}

// Answer is an answer of a host.
type Answer struct {
	Reading
	Text      string        // as sent, without the newline; empty if it is no text
	RoundTrip time.Duration // from just before the request left to when all of the answer was there

	// Offset is how far the host's clock is ahead of this host's, if Time is not
	// zero. The host read its clock at some moment of the round trip. Offset
	// takes the middle, so it is right to Error if neither clock was set
	// meanwhile.
	Offset, Error time.Duration
}

// newAnswer returns an answer to a request that left at sent; the answer arrived
// at received, by this host's clock.
func newAnswer(text string, reading Reading, sent, received time.Time) Answer {
	a := Answer{Reading: reading, Text: text, RoundTrip: received.Sub(sent)}
	if !reading.Time.IsZero() {
		// Truncation cut off between nothing and one unit.
		a.Offset = max(reading.Time.Add(reading.Precision/2).Sub(sent.Add(a.RoundTrip/2)), -math.MaxInt64)
		a.Error = (a.RoundTrip+1)/2 + reading.Precision/2
	}
	return a
}

// Interval returns where the true time is if the host is right, as an offset
// from this host's clock: Offset ± Error and, if it is known, Bound. It returns
// false if the answer cannot be compared.
func (a *Answer) Interval() (clock.Interval, bool) {
	if a.Time.IsZero() {
		return clock.Interval{}, false
	}
	i := clock.Around(a.Offset, a.Error)
	if a.HasBound {
		i = i.Widen(a.Bound)
	}
	return i, true
}
