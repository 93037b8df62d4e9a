package answer

import (
	"math"
	"time"
)

// Daytime makes the answers of a daytime server: RFC 867. An answer is one line
// of local time, its zone's offset and CR LF: 2026-11-21 01:17:42 +08:00.
type Daytime struct {
	zone    *time.Location
	trusted func(now time.Time) bool

	second int64 // that was answered last, and
	line   []byte
}

// daytimeLayout is RFC 3339 with a space, which it allows for people's sake.
const daytimeLayout = "2006-01-02 15:04:05 -07:00\r\n"

// MaxDaytime is as long as no daytime answer is, whatever year it may be.
const MaxDaytime = 64

// NewDaytime returns a Daytime that tells local time in zone. As long as trusted
// says that the clock is not to be trusted there are no answers; nil stands for
// one that always is.
func NewDaytime(zone *time.Location, trusted func(now time.Time) bool) *Daytime {
	return &Daytime{zone: zone, trusted: trusted, second: math.MinInt64}
}

// Append appends the time now, or nothing, with the form Untrusted, if the clock
// is not to be trusted.
func (d *Daytime) Append(b []byte, now time.Time) ([]byte, Form) {
	if d.trusted != nil && !d.trusted(now) {
		return b, Untrusted
	}
	if sec := now.Unix(); sec != d.second {
		d.second, d.line = sec, now.In(d.zone).AppendFormat(d.line[:0], daytimeLayout)
	}
	return append(b, d.line...), DaytimeForm
}

// AppendDatagram appends the answer to a datagram, which may hold anything.
func (d *Daytime) AppendDatagram(b, _ []byte, _ int, _, now time.Time) ([]byte, Form) {
	return d.Append(b, now)
}
