package clockbound

import (
	"math"
	"time"
)

// Status says how far a Snapshot can be relied on.
type Status int32

const (
	Unknown      Status = iota // nothing bounds the clock's error
	Synchronized               // the clock is steered, and its error is bounded
	FreeRunning                // the bound holds, but nobody has confirmed it for a while
	Disrupted                  // the clock was set, or is contradicted; nothing bounds its error
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

// Snapshot is what one update of a segment says.
type Snapshot struct {
	AsOf      time.Duration // when it was made, by CLOCK_MONOTONIC_COARSE
	VoidAfter time.Duration // when it expires, by the same clock
	Bound     time.Duration // upper bound on the error of CLOCK_REALTIME at AsOf
	Marker    uint64        // disruption marker: changes with each step of the clock
	MaxDrift  uint32        // how fast the bound grows, in parts per billion
	Status    Status
}

// CoarseStep is an upper bound on how far CLOCK_MONOTONIC_COARSE is behind
// CLOCK_MONOTONIC: a tick of the kernel, at 100 Hz.
const CoarseStep = 10 * time.Millisecond

// grace is how long after AsOf the status counts: long enough for a writer to
// restart. Then the clock counts as free-running.
const grace = 5 * time.Second

// readingError is how much later than the clock of a reader AsOf may seem to be.
const readingError = time.Microsecond

// At returns the interval of true time when CLOCK_REALTIME reads real, and
// CLOCK_MONOTONIC, read after it, mono. Its error is nil, ErrExpired or
// ErrNoSegment.
func (s *Snapshot) At(real time.Time, mono time.Duration) (i Interval, err error) {
	made := s.segment()
	err = made.at(real, mono, &i)
	return i, err
}

// at sets i to the interval of true time. It has a pointer to it because to return
// it would cost as much as all else: a copy has to wait for the words of a struct
// that were stored just before.
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

// growth returns how much a bound has grown at an age, rounded up. The drift, in
// parts per billion, is less than 1e9.
func growth(age time.Duration, drift uint32) time.Duration {
	if age < 1<<33 { // 8 s; the product is below 1<<63
		return age*time.Duration(drift)/1e9 + 1
	}
	seconds, rest := uint64(age)/1e9, uint64(age)%1e9
	return time.Duration(min(seconds*uint64(drift)+rest*uint64(drift)/1e9+1, math.MaxInt64))
}

// Interval is a range of times, ends included, in which the true time was when the
// clock was read. If Status is not Bounded, it is all of time.
type Interval struct {
	Earliest, Latest time.Time // without monotonic clock readings
	Status           Status
}

// Before reports whether the true time was certainly before t.
func (i Interval) Before(t time.Time) bool { return i.Latest.Before(t) }

// After reports whether the true time was certainly after t.
func (i Interval) After(t time.Time) bool { return i.Earliest.After(t) }

// lastTime is later than any time that a program has to do with.
var lastTime = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)

// anyTime is the Interval of a clock whose error nothing bounds. Whoever does not
// look at the status finds nothing certain.
func anyTime(status Status) Interval { return Interval{time.Time{}, lastTime, status} }

func (i *Interval) setAnyTime(status Status) { *i = anyTime(status) }

// set sets i to real ± bound. It does without time.Time.Add, which takes as long as
// reading a clock.
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

// snapshot returns what s says.
func (s *segment) snapshot() Snapshot {
	return Snapshot{s.asOf.duration(), s.voidAfter.duration(), time.Duration(s.bound), s.marker, s.maxDrift, s.status}
}

// segment returns the segment that says s, without its header.
func (s *Snapshot) segment() segment {
	return segment{
		asOf: timespecOf(s.AsOf), voidAfter: timespecOf(s.VoidAfter), bound: int64(s.Bound),
		marker: s.Marker, maxDrift: s.MaxDrift, status: s.Status,
	}
}

// duration returns the time since the clock's zero. Times that do not fit into a
// Duration become its limits.
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
