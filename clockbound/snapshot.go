package clockbound

import (
	"math"
	"time"
)

// Status is the state of the clock: whether its error is bounded.
type Status int32

const (
	Unknown      Status = iota // the clock's error is not bounded
	Synchronized               // the clock is steered, and its error is bounded
	FreeRunning                // the clock's error is bounded, but the bound is old
	Disrupted                  // the clock was set, or is contradicted; its error is not bounded
)

// String returns "unknown", "synchronized", "free running" or "disrupted".
func (s Status) String() string {
	if s < Unknown || s > Disrupted {
		return "invalid"
	}
	return [...]string{"unknown", "synchronized", "free running", "disrupted"}[s]
}

// Bounded reports whether the clock's error is bounded: Synchronized or
// FreeRunning.
func (s Status) Bounded() bool { return s == Synchronized || s == FreeRunning }

// Snapshot is the contents of one update of a segment.
type Snapshot struct {
	AsOf      time.Duration // when it was made, by CLOCK_MONOTONIC_COARSE
	VoidAfter time.Duration // when it expires, by CLOCK_MONOTONIC_COARSE
	Bound     time.Duration // upper bound on the error of CLOCK_REALTIME at AsOf
	Marker    uint64        // disruption marker: changes with each step of the clock
	MaxDrift  uint32        // how fast the bound grows, in parts per billion
	Status    Status
}

// CoarseStep is an upper bound on how far CLOCK_MONOTONIC_COARSE is behind
// CLOCK_MONOTONIC: a tick of the kernel, at 100 Hz.
const CoarseStep = 10 * time.Millisecond

// grace is the age from which on a snapshot is free-running. It is long enough for a
// writer to restart.
const grace = 5 * time.Second

// readingError is an upper bound on how far AsOf may be ahead of a reader's clock.
const readingError = time.Microsecond

// At returns the interval of true time for a reading of the clocks: real is of
// CLOCK_REALTIME, and mono of CLOCK_MONOTONIC, read after it. The error is
// ErrExpired or ErrNoSegment. With an error, the interval is all of time.
func (s *Snapshot) At(real time.Time, mono time.Duration) (i Interval, err error) {
	made := s.segment()
	err = made.at(real, mono, &i)
	return i, err
}

// at sets i to the interval of true time, as At does. It does not return the
// interval, because the copy would double the cost: a copy waits for the words of
// the struct that were stored just before.
func (s *segment) at(real time.Time, mono time.Duration, i *Interval) error {
	asOf, voidAfter, bound := s.asOf.duration(), s.voidAfter.duration(), time.Duration(s.bound)
	age := mono - asOf
	status := s.status
	switch {
	case s.maxDrift >= 1e9 || bound < 0 || status < Unknown || status > Disrupted:
		i.setAnyTime(Unknown)
		return ErrNoSegment
	case !status.Bounded():
		i.setAnyTime(status)
		return nil
	case age < -readingError || mono >= voidAfter:
		i.setAnyTime(Unknown)
		return ErrExpired
	case age >= grace:
		status = FreeRunning
	}
	if bound += growth(max(0, age), s.maxDrift); bound < 0 { // overflow
		i.setAnyTime(Unknown)
		return ErrNoSegment
	}
	i.set(real, bound, status)
	return nil
}

// growth returns how much a bound has grown at an age, rounded up. drift is in parts
// per billion, and must be less than 1e9.
func growth(age time.Duration, drift uint32) time.Duration {
	if age < 1<<33 { // 8 s; the product is below 1<<63
		return age*time.Duration(drift)/1e9 + 1
	}
	seconds, rest := uint64(age)/1e9, uint64(age)%1e9
	return time.Duration(min(seconds*uint64(drift)+rest*uint64(drift)/1e9+1, math.MaxInt64))
}

// Interval is a range of times, ends included. It contained the true time when the
// clock was read. If Status is not Bounded, it is all of time.
type Interval struct {
	Earliest, Latest time.Time // without monotonic clock readings
	Status           Status
}

// Before reports whether the true time was certainly before t.
func (i Interval) Before(t time.Time) bool { return i.Latest.Before(t) }

// After reports whether the true time was certainly after t.
func (i Interval) After(t time.Time) bool { return i.Earliest.After(t) }

// lastTime is later than the times that programs use.
var lastTime = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)

// anyTime returns all of time: the Interval of a clock whose error is not bounded. A
// caller that does not check the status finds nothing certain.
func anyTime(status Status) Interval { return Interval{time.Time{}, lastTime, status} }

func (i *Interval) setAnyTime(status Status) { *i = anyTime(status) }

// set sets i to real ± bound. It avoids time.Time.Add, which takes as long as reading
// a clock.
func (i *Interval) set(real time.Time, bound time.Duration, status Status) {
	second, nano := real.Unix(), int64(real.Nanosecond())
	seconds, nanos := int64(bound/time.Second), int64(bound%time.Second)
	first, firstNano := second-seconds, nano-nanos
	if firstNano < 0 {
		first, firstNano = first-1, firstNano+1e9
	}
	last, lastNano := second+seconds, nano+nanos
	if lastNano >= 1e9 {
		last, lastNano = last+1, lastNano-1e9
	}
	i.Earliest, i.Latest, i.Status = time.Unix(first, firstNano), time.Unix(last, lastNano), status
}

// snapshot returns the contents of s.
func (s *segment) snapshot() Snapshot {
	return Snapshot{s.asOf.duration(), s.voidAfter.duration(), time.Duration(s.bound), s.marker, s.maxDrift, s.status}
}

// segment returns the segment with the contents s, without a header.
func (s *Snapshot) segment() segment {
	return segment{
		asOf: timespecOf(s.AsOf), voidAfter: timespecOf(s.VoidAfter), bound: int64(s.Bound),
		marker: s.Marker, maxDrift: s.MaxDrift, status: s.Status,
	}
}

// duration returns t as a Duration. A t that does not fit becomes ±math.MaxInt64.
func (t timespec) duration() time.Duration {
	const most = math.MaxInt64/int64(time.Second) - 1
	if t.sec > most {
		return math.MaxInt64
	}
	if t.sec < -most {
		return -math.MaxInt64
	}
	return time.Duration(t.sec)*time.Second + time.Duration(t.nsec)
}

func timespecOf(d time.Duration) timespec {
	return timespec{int64(d / time.Second), int64(d % time.Second)}
}
