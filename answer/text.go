package answer

import (
	"math"
	"strconv"
	"time"

	"nowd/clock"
)

// Text makes text answers.
type Text struct {
	clock   *clock.Clock
	zone    *time.Location
	form    Form // where a request does not ask for another
	newline bool

	// Of the second that was answered last. Its digits are good for all
	// answers in that second.
	second   int64
	dateTime []byte // 2026-11-21 01:17:42.
	rfc3339  []byte // 2026-11-21T01:17:42.
	offset   []byte // Z
}

// MaxText is as long as no text answer is.
const MaxText = 512

// Unpadded is how long a datagram's answer may be if it is longer than the
// request. The longest answers, which are above it, are for padded requests, so
// that a sender of false addresses cannot have much more sent than he sends.
const Unpadded = 64

// NewText returns a Text that tells local time in zone and c's quality, and ends
// its answers in a newline if that is wanted. form is the one of an answer to a
// request that has none of the words.
func NewText(c *clock.Clock, zone *time.Location, form Form, newline bool) *Text {
	return &Text{clock: c, zone: zone, form: form, newline: newline, second: math.MinInt64}
}

// Form returns the form of the answer to a request.
func (t *Text) Form(req []byte) Form {
	if f, ok := ParseForm(req); ok {
		return f
	}
	return t.form
}

// Append appends the time now in the form given.
func (t *Text) Append(b []byte, f Form, now time.Time) []byte {
	b = t.append(b, f, now)
	if t.newline {
		b = append(b, '\n')
	}
	return b
}

// AppendDatagram appends the answer to a datagram of which req holds the
// beginning and size is the length. An answer that is too long for the request
// gives way to the default, and that to the plain time. When the datagram
// arrived makes no difference.
func (t *Text) AppendDatagram(b, req []byte, size int, _, now time.Time) ([]byte, Form) {
	f := t.form
	if size == len(req) {
		f = t.Form(req)
	}
	start := len(b)
	for _, f := range [...]Form{f, t.form} {
		if b = t.Append(b, f, now); len(b)-start <= max(Unpadded, size) {
			return b, f
		}
		b = b[:start]
	}
	return t.Append(b, DateTime, now), DateTime
}

func (t *Text) append(b []byte, f Form, now time.Time) []byte {
	sec, nsec := now.Unix(), now.Nanosecond()
	if sec != t.second {
		t.keep(now)
	}
	switch f {
	case DateTime:
		return appendDigits(append(b, t.dateTime...), nsec/1000, 6)
	case RFC3339:
		return t.appendRFC3339(b, nsec)
	case Unix:
		return appendUnix(b, sec)
	case UnixMS:
		return appendUnix(b, now.UnixMilli())
	case UnixUS:
		return appendUnix(b, now.UnixMicro())
	case UnixNS:
		return appendUnix(b, now.UnixNano())
	case Bound:
		return t.appendBound(b, now)
	case JSON:
		return t.appendJSON(b, now)
	default:
		return append(b, help...)
	}
}

func (t *Text) appendRFC3339(b []byte, nsec int) []byte {
	return append(appendDigits(append(b, t.rfc3339...), nsec, 9), t.offset...)
}

// keep lays down what all answers in now's second have in common.
func (t *Text) keep(now time.Time) {
	local := now.In(t.zone)
	t.second = now.Unix()
	t.dateTime = local.AppendFormat(t.dateTime[:0], "2006-01-02 15:04:05.")
	t.rfc3339 = local.AppendFormat(t.rfc3339[:0], "2006-01-02T15:04:05.")
	t.offset = local.AppendFormat(t.offset[:0], "Z07:00")
}

// appendUnix appends at least ten digits. All times since 2001 have them; what
// a clock that was never set says has them too, so that a datagram with such an
// answer is known for one.
func appendUnix(b []byte, n int64) []byte {
	if n >= 1e9 {
		return strconv.AppendInt(b, n, 10)
	}
	u := uint64(n)
	if n < 0 {
		b, u = append(b, '-'), -u
	}
	if u >= 1e9 {
		return strconv.AppendUint(b, u, 10)
	}
	return appendDigits(append(b, '0'), int(u), 9)
}

// appendDigits appends n with leading zeros, as width digits.
func appendDigits(b []byte, n, width int) []byte {
	b = append(b, "000000000"[:width]...)
	for i := len(b) - 1; n > 0; i-- {
		b[i] = '0' + byte(n%10)
		n /= 10
	}
	return b
}

// appendBound appends the earliest and the latest time that it can be, as far
// as is known.
func (t *Text) appendBound(b []byte, now time.Time) []byte {
	q := t.clock.Quality(now)
	if earliest, latest, ok := q.Bounds(now); ok {
		b = appendSeconds(b, earliest)
		b = appendSeconds(append(b, ' '), latest)
	} else {
		b = append(b, "- -"...)
	}
	return append(append(b, ' '), status(q)...)
}

// appendSeconds appends the seconds since 1970 with nine decimals.
func appendSeconds(b []byte, at time.Time) []byte {
	sec, nsec := at.Unix(), at.Nanosecond()
	if sec < 0 && nsec > 0 { // time counts decimals upwards
		sec, nsec = sec+1, int(time.Second)-nsec
		if sec == 0 {
			b = append(b, '-')
		}
	}
	return appendDigits(append(appendUnix(b, sec), '.'), nsec, 9)
}

func status(q *clock.Quality) string {
	if q.Synced() {
		return "synced"
	}
	return "unsynced"
}

func (t *Text) appendJSON(b []byte, now time.Time) []byte {
	q := t.clock.Quality(now)
	earliest, latest, ok := q.Bounds(now)
	known := q.Err == nil
	b = append(b, jsonStart...)
	b = t.appendRFC3339(b, now.Nanosecond())
	b = appendJSONInt(append(b, `","unix_ns":`...), now.UnixNano(), true)
	b = appendJSONInt(append(b, `,"earliest_unix_ns":`...), now.UnixNano()+int64(earliest.Sub(now)), ok)
	b = appendJSONInt(append(b, `,"latest_unix_ns":`...), now.UnixNano()+int64(latest.Sub(now)), ok)
	b = append(append(append(b, `,"status":"`...), status(q)...), '"')
	b = appendJSONInt(append(b, `,"max_error_ns":`...), int64(q.MaxError), known)
	b = appendJSONInt(append(b, `,"est_error_ns":`...), int64(q.EstError), known)
	b = appendJSONInt(append(b, `,"offset_ns":`...), int64(q.Offset), known)
	b = append(b, `,"leap":`...)
	if known {
		b = append(append(append(b, '"'), q.Leap.String()...), '"')
	} else {
		b = append(b, "null"...)
	}
	b = appendJSONInt(append(b, `,"tai_offset_s":`...), int64(q.TAI), q.TAI != 0)
	return append(b, '}')
}

const jsonStart = `{"time":"`

func appendJSONInt(b []byte, n int64, known bool) []byte {
	if !known {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, n, 10)
}
