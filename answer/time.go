package answer

import (
	"encoding/binary"
	"time"
)

// Time makes the answers of a time server: RFC 868. An answer is the seconds
// since 1900 as four bytes, the most significant first, which begins anew at 0
// in 2036.
type Time struct {
	trusted func(now time.Time) bool
}

// timeSize is the length of an answer.
const timeSize = 4

// NewTime returns a Time. As long as trusted says that the clock is not to be
// trusted there are no answers, as the RFC has it; nil stands for one that
// always is.
func NewTime(trusted func(now time.Time) bool) *Time { return &Time{trusted} }

// Append appends the time now, or nothing, with the form Untrusted, if the clock
// is not to be trusted.
func (t *Time) Append(b []byte, now time.Time) ([]byte, Form) {
	if t.trusted != nil && !t.trusted(now) {
		return b, Untrusted
	}
	return binary.BigEndian.AppendUint32(b, uint32(toNTPTime(now)>>32)), TimeForm
}

// AppendDatagram appends the answer to a datagram, which may hold anything but
// what looks like an answer: clients send an empty one, and if the other side is
// a time server whose clock is far from ours that is all there is to know it by.
func (t *Time) AppendDatagram(b, req []byte, size int, _, now time.Time) ([]byte, Form) {
	if size == timeSize && !isWritten(req) {
		return b, TimeForm
	}
	return t.Append(b, now)
}
