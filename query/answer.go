package query

import (
	"math"
	"time"

	"nowd/clock"
)

// Sync is whether a host claims that its clock is synchronised.
type Sync uint8

const (
	SyncUnknown Sync = iota // the answer does not say
	Synced
	Unsynced
)

// String returns "-", "synced" or "unsynced".
func (s Sync) String() string { return [...]string{"-", "synced", "unsynced"}[s] }

// Reading is a host's reading of its clock, parsed from an answer. The zero value has no
// information.
type Reading struct {
	Time      time.Time     // zero if the answer has no time that can be compared
	Precision time.Duration // Time is truncated to a multiple of this

	Sync     Sync
	HasBound bool
	Bound    time.Duration // error bound that the host claims, if HasBound
	Leap     string        // none, insert or delete; empty if unknown
	Stratum  int           // of NTP; 0 if unknown
}

// Answer is an answer of a host.
type Answer struct {
	Reading
	Text      string        // as sent, without the newline; empty for binary protocols
	RoundTrip time.Duration // from just before the request was sent until the answer was complete

	// Offset is how far the host's clock is ahead of this host's, if Time is not zero.
	// The host read its clock at some time during the round trip; Offset assumes the
	// middle. Error is an upper bound on the error of Offset, if neither clock was set
	// meanwhile.
	Offset, Error time.Duration
}

// newAnswer returns an answer. The request was sent at sent and the answer arrived at
// received, by this host's clock.
func newAnswer(text string, reading Reading, sent, received time.Time) Answer {
	a := Answer{Reading: reading, Text: text, RoundTrip: received.Sub(sent)}
	if !reading.Time.IsZero() {
		// Truncation has cut off less than one unit: assume half.
		a.Offset = max(reading.Time.Add(reading.Precision/2).Sub(sent.Add(a.RoundTrip/2)), -math.MaxInt64)
		a.Error = (a.RoundTrip+1)/2 + reading.Precision/2
	}
	return a
}

// Interval returns the interval that contains the true time if the host is right, as
// offsets from this host's clock: Offset ± (Error + Bound). An unknown Bound counts as 0. It
// returns false if the answer cannot be compared.
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
