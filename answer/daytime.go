package answer

import (
	"math"
	"time"
)

// Daytime is the daytime protocol of RFC 867. An answer is one line: local time, the zone's
// offset and CR LF, for example 2026-11-21 01:17:42 +08:00.
type Daytime struct {
	zone    *time.Location
	trusted func(now time.Time) bool

	second int64  // of the last answer
	line   []byte // the answer in that second
}

// daytimeLayout is RFC 3339 with a space instead of T, which the RFC allows.
const daytimeLayout = "2006-01-02 15:04:05 -07:00\r\n"

// NewDaytime returns a Daytime that answers with local time in zone. While trusted returns
// false, it does not answer. A nil trusted means that the clock is always trusted.
func NewDaytime(zone *time.Location, trusted func(now time.Time) bool) *Daytime {
	return &Daytime{zone: zone, trusted: trusted, second: math.MinInt64}
}

// Append appends the answer for the time now. If the clock is not trusted, it appends
// nothing and returns Untrusted.
func (d *Daytime) Append(b []byte, now time.Time) ([]byte, Outcome) {
	if d.trusted != nil && !d.trusted(now) {
		return b, Untrusted
	}
	if sec := now.Unix(); sec != d.second {
		d.second, d.line = sec, now.In(d.zone).AppendFormat(d.line[:0], daytimeLayout)
	}
	return append(b, d.line...), Answered(DaytimeForm)
}

// AppendDatagram appends the answer to a datagram with any contents.
func (d *Daytime) AppendDatagram(b, _ []byte, _ int, _, now time.Time) ([]byte, Outcome) {
	return d.Append(b, now)
}
