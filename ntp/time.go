package ntp

import (
	"math"
	"time"
)

// epoch is the beginning of era 0, 1900-01-01T00:00:00Z, in Unix time.
const epoch = -2208988800

// Era is the time after which the seconds of a timestamp wrap: 2^32 s, or 136 years.
// Era 1 begins at 2036-02-07T06:28:16Z.
const Era = 1 << 32 * time.Second

// Seconds is a time in whole seconds since the beginning of its era. It does not say
// which era that is. The answer of the Time protocol is a Seconds (RFC 868).
type Seconds uint32

// SecondsOf returns t in seconds since the beginning of its era, rounded down.
func SecondsOf(t time.Time) Seconds { return Seconds(t.Unix() - epoch) }

// Near returns s as a time, in the era in which it is nearest to known: at most half
// an era, 68 years, away.
func (s Seconds) Near(known time.Time) time.Time { return time.Unix(s.unixNear(known), 0) }

// unixNear is Near in Unix time. The difference of two Seconds is right modulo an era.
// As a signed number it is at most half an era, so it leads to the nearest time.
func (s Seconds) unixNear(known time.Time) int64 {
	ahead := int32(s - SecondsOf(known))
	return known.Unix() + int64(ahead)
}

// Time is a timestamp: Seconds in the upper half, and units of 2^-32 s in the lower
// half. Zero means "no time": RFC 5905, section 6. The difference of two, as a signed
// number, is right even across the end of an era.
type Time uint64

// TimeOf returns t as a timestamp, rounded down. The result is never zero.
func TimeOf(t time.Time) Time {
	n := Time(SecondsOf(t))<<32 | Time(uint64(t.Nanosecond())<<32/1e9)
	return max(n, 1)
}

// Sub returns t-u, at most half an era either way, rounded down to the
// nanosecond.
func (t Time) Sub(u Time) time.Duration {
	d := int64(t - u)
	return time.Duration(d>>32)*time.Second + time.Duration(uint64(uint32(d))*1e9>>32)
}

// Near returns t as a time, in the era in which it is nearest to known, rounded to the
// nanosecond.
func (t Time) Near(known time.Time) time.Time {
	fraction := uint64(uint32(t))
	return time.Unix(Seconds(t>>32).unixNear(known), int64((fraction*1e9+1<<31)>>32))
}

// Short is an unsigned duration in units of 2^-16 s: RFC 5905, section 6.
type Short uint32

// ShortOf returns d as a Short, rounded up. A negative d becomes 0. A d that is too
// long becomes the longest Short, about 18 hours.
func ShortOf(d time.Duration) Short {
	switch {
	case d <= 0:
		return 0
	case d > math.MaxUint32*time.Second>>16:
		return math.MaxUint32
	}
	return Short((uint64(d)<<16 + uint64(time.Second) - 1) / uint64(time.Second))
}

// Duration returns s in nanoseconds, rounded down.
func (s Short) Duration() time.Duration {
	return time.Duration(uint64(s) * uint64(time.Second) >> 16)
}
