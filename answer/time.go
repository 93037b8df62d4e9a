package answer

import (
	"encoding/binary"
	"time"

	"nowd/ntp"
)

// Time is the time protocol of RFC 868. An answer is the seconds since 1900 as
// four bytes, most significant first. It wraps to 0 in 2036.
type Time struct {
	trusted func(now time.Time) bool
}

// timeSize is the length of an answer in bytes.
const timeSize = 4

// NewTime returns a Time. It gives no answer while trusted returns false, as RFC
// 868 asks. A nil trusted means that the clock is always trusted.
func NewTime(trusted func(now time.Time) bool) *Time { return &Time{trusted} }

// Append appends the time now. If the clock is not trusted it appends nothing,
// and the outcome is Untrusted.
func (t *Time) Append(b []byte, now time.Time) ([]byte, Outcome) {
	if t.trusted != nil && !t.trusted(now) {
		return b, Untrusted
	}
	return binary.BigEndian.AppendUint32(b, uint32(ntp.SecondsOf(now))), Answered(TimeForm)
}

// AppendDatagram appends the answer to a datagram. A client's is empty, or holds
// anything but four bytes that are no text: these are another server's answer.
func (t *Time) AppendDatagram(b, req []byte, size int, _, now time.Time) ([]byte, Outcome) {
	if size == timeSize && !isText(req) {
		return b, NoRequest
	}
	return t.Append(b, now)
}
