package answer

import (
	"math"
	"strconv"
	"time"

	"nowd/clock"
)

// Text is the text dialect. It answers with the time in the form that a request asks for.
type Text struct {
	clock   *clock.Clock
	zone    *time.Location
	form    Form // the default form, for a request that is not a word
	newline bool

	// A cache of the parts that all answers of one second have in common.
	second   int64
	dateTime []byte // 2026-11-21 01:17:42.
	rfc3339  []byte // 2026-11-21T01:17:42.
	offset   []byte // Z
}

// MaxText is an upper bound on the length of a text answer, in bytes.
const MaxText = 512

// maxUnpadded is the maximum length, in bytes, of an answer that is longer than its
// request. A client pads its request to get a longer one. This bounds the amplification of
// datagrams from spoofed sources.
const maxUnpadded = 64

// NewText returns a Text that answers with local time in zone and the quality of the clock
// c. form is the default form, for a request that is not a word. If newline is set, each
// answer ends in a newline.
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

// Append appends the answer for the time now in form f.
func (t *Text) Append(b []byte, f Form, now time.Time) []byte {
	b = t.append(b, f, now)
	if t.newline {
		b = append(b, '\n')
	}
	return b
}

// AppendDatagram appends the answer to a datagram. req is the beginning of the datagram,
// and size its full length. An answer is too long if it has more than 64 bytes and is
// longer than the datagram. If the requested form is too long, the answer has the default
// form, and if that is too long too, DateTime. A datagram that req does not contain whole
// gets the default form.
func (t *Text) AppendDatagram(b, req []byte, size int, _, now time.Time) ([]byte, Outcome) {
	f := t.form
	if size == len(req) {
		f = t.Form(req)
	}
	start := len(b)
	for _, f := range [...]Form{f, t.form} {
		if b = t.Append(b, f, now); len(b)-start <= max(maxUnpadded, size) {
			return b, Answered(f)
		}
		b = b[:start]
	}
	return t.Append(b, DateTime, now), Answered(DateTime)
}

// Layout describes the answers in the default form in one second. They differ only in the digits of the
// fraction: an answer is Before, the first Digits digits of the nanoseconds, and After.
type Layout struct {
	Before []byte
	Digits int
	After  []byte
}

// Layout returns the layout of the answers in the default form in the second of at. Before
// has the same length in every second. Layout returns false if the default form is not a
// single time, and for times outside of 2001 to 2255: earlier, an answer's digits depend on
// each other; later, nanoseconds overflow.
func (t *Text) Layout(at time.Time) (l Layout, ok bool) {
	digits, ok := fractionDigits(t.form)
	if s := at.Unix(); !ok || s < 1e9 || s >= 9e9 {
		return l, false
	}
	b := t.Append(nil, t.form, time.Unix(at.Unix(), 0))
	after := 0
	if t.form == RFC3339 {
		after = len(t.offset)
	}
	if t.newline {
		after++
	}
	return Layout{b[:len(b)-after-digits], digits, b[len(b)-after:]}, true
}

// fractionDigits returns the number of digits of the fraction of a second in a form. It
// returns false for a form that is not a single time.
func fractionDigits(f Form) (digits int, ok bool) {
	switch f {
	case Unix:
		return 0, true
	case UnixMS:
		return 3, true
	case DateTime, UnixUS:
		return 6, true
	case RFC3339, UnixNS:
		return 9, true
	}
	return 0, false
}

func (t *Text) append(b []byte, f Form, now time.Time) []byte {
	sec, nsec := now.Unix(), now.Nanosecond()
	if sec != t.second {
		t.cacheSecond(now)
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

// cacheSecond formats the parts that all answers in now's second have in common.
func (t *Text) cacheSecond(now time.Time) {
	local := now.In(t.zone)
	t.second = now.Unix()
	t.dateTime = local.AppendFormat(t.dateTime[:0], "2006-01-02 15:04:05.")
	t.rfc3339 = local.AppendFormat(t.rfc3339[:0], "2006-01-02T15:04:05.")
	t.offset = local.AppendFormat(t.offset[:0], "Z07:00")
}

// appendUnix appends n with at least ten digits. All times since 2001 have that many.
// Earlier times, from a clock that was never set, get leading zeros, so that IsAnswer
// recognises them.
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

// appendDigits appends n as width digits, with leading zeros.
func appendDigits(b []byte, n, width int) []byte {
	b = append(b, "000000000"[:width]...)
	for i := len(b) - 1; n > 0; i-- {
		b[i] = '0' + byte(n%10)
		n /= 10
	}
	return b
}

// appendBound appends the earliest and the latest possible true time, and the status.
// Without a usable error bound it appends dashes for the times.
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
	if sec < 0 && nsec > 0 { // Nanosecond counts upwards from the start of the second
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
