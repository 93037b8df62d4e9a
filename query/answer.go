package query

import (
	"math"
	"time"
)

// Sync is what a host says of its clock.
type Sync uint8

const (
	SyncUnknown Sync = iota // nothing
	Synced
	Unsynced
)

// String returns "-", "synced" or "unsynced".
func (s Sync) String() string { return [...]string{"-", "synced", "unsynced"}[s] }

// Told is what an answer tells. Its zero value tells nothing.
type Told struct {
	Time      time.Time     // zero if it tells none that can be compared
	Precision time.Duration // Time is cut to a multiple of this

	Sync     Sync
	HasBound bool
	Bound    time.Duration // how far off the host says that its clock may be, if HasBound
	Leap     string        // none, insert, delete, or empty if it does not say
	Stratum  int           // of NTP, or 0
}

// Answer is an answer of a host, and what it says of its clock.
type Answer struct {
	Told
	Text      string        // as it was sent, without the end of the line; empty if that is no text
	RoundTrip time.Duration // from just before the question left to when all of the answer was there

	// Of the host's clock from this one's, if Time is not zero. The host read
	// its clock at some moment of the round trip; that Offset is from the middle
	// of it makes it right to Error, if neither clock was set meanwhile.
	Offset, Error time.Duration
}

// newAnswer returns the answer of a host that was asked at sent, by this host's
// clock, and had answered at received.
func newAnswer(text string, told Told, sent, received time.Time) Answer {
	a := Answer{Told: told, Text: text, RoundTrip: received.Sub(sent)}
	if !told.Time.IsZero() {
		// What was cut off is between nothing and one unit.
		a.Offset = max(told.Time.Add(told.Precision/2).Sub(sent.Add(a.RoundTrip/2)), -math.MaxInt64)
		a.Error = (a.RoundTrip+1)/2 + told.Precision/2
	}
	return a
}

// Interval is a range of offsets from this host's clock, ends included.
type Interval struct{ Low, High time.Duration }

// Interval returns where the true time is, as an offset from this host's clock,
// if the host is right: Offset, give or take Error and, if it is known, Bound.
// It is false if the answer cannot be compared.
func (a *Answer) Interval() (Interval, bool) {
	if a.Time.IsZero() {
		return Interval{}, false
	}
	wide := a.Error
	if a.HasBound {
		wide = add(wide, a.Bound)
	}
	return Interval{add(a.Offset, -wide), add(a.Offset, wide)}, true
}

// add adds, up to what a Duration can be: a host may tell any time.
func add(a, b time.Duration) time.Duration {
	switch sum := a + b; {
	case a > 0 && b > 0 && sum < 0:
		return math.MaxInt64
	case a < 0 && b < 0 && sum >= 0:
		return -math.MaxInt64
	default:
		return sum
	}
}
