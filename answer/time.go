package answer

import (
	"encoding/binary"
	"time"

	"nowd/ntp"
)

// Time is the time protocol of RFC 868. An answer is the seconds since 1900 in four bytes,
// big-endian. It wraps to 0 in 2036.
type Time struct {
	trusted func(now time.Time) bool
}

// timeSize is the length of an answer in bytes.
const timeSize = 4

// NewTime returns a Time. While trusted returns false, it does not answer, as RFC 868
// requires. A nil trusted means that the clock is always trusted.
func NewTime(trusted func(now time.Time) bool) *Time { return &Time{trusted} }

// Append appends the answer for the time now. If the clock is not trusted, it appends
// nothing and returns Untrusted.
func (t *Time) Append(b []byte, now time.Time) ([]byte, Outcome) {
	if t.trusted != nil && !t.trusted(now) {
		return b, Untrusted
	}
	return binary.BigEndian.AppendUint32(b, uint32(ntp.SecondsOf(now))), Answered(TimeForm)
}

// AppendDatagram appends the answer to a datagram. Four bytes that are not text are another
// server's answer: for them it appends nothing.
func (t *Time) AppendDatagram(b, req []byte, size int, _, now time.Time) ([]byte, Outcome) {
	if size == timeSize && !isText(req) {
		return b, NoRequest
	}
	return t.Append(b, now)
}
