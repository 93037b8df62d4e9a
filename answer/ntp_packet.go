package answer

import (
	"encoding/binary"
	"math"
	"time"
)

// ntpSize is the length of a packet without extension fields and a MAC.
const ntpSize = 48

// The modes of RFC 5905, figure 10, that matter here.
const (
	modeActive    = 1
	modePassive   = 2
	modeClient    = 3
	modeServer    = 4
	modeBroadcast = 5
)

// ntpUnknown is the leap indicator of a clock that is not synchronised: RFC
// 5905, figure 9. The others are as clock.Leap has them.
const ntpUnknown = 3

// ntpPacket is a packet's header: RFC 5905, section 7.3.
type ntpPacket struct {
	leap, version, mode uint8
	stratum             uint8
	poll, precision     int8 // log2 of seconds
	rootDelay           ntpShort
	rootDispersion      ntpShort
	refID               [4]byte
	reference           ntpTime
	origin              ntpTime
	receive             ntpTime
	transmit            ntpTime
}

// parseNTP reads the header at the beginning of b, and returns false if it is
// not all there.
func parseNTP(b []byte) (p ntpPacket, ok bool) {
	if len(b) < ntpSize {
		return p, false
	}
	return ntpPacket{
		leap: b[0] >> 6, version: b[0] >> 3 & 7, mode: b[0] & 7,
		stratum: b[1], poll: int8(b[2]), precision: int8(b[3]),
		rootDelay:      ntpShort(binary.BigEndian.Uint32(b[4:])),
		rootDispersion: ntpShort(binary.BigEndian.Uint32(b[8:])),
		refID:          [4]byte(b[12:16]),
		reference:      ntpTime(binary.BigEndian.Uint64(b[16:])),
		origin:         ntpTime(binary.BigEndian.Uint64(b[24:])),
		receive:        ntpTime(binary.BigEndian.Uint64(b[32:])),
		transmit:       ntpTime(binary.BigEndian.Uint64(b[40:])),
	}, true
}

// append appends the header as it goes over the wire.
func (p *ntpPacket) append(b []byte) []byte {
	b = append(b, p.leap<<6|p.version<<3|p.mode, p.stratum, byte(p.poll), byte(p.precision))
	b = binary.BigEndian.AppendUint32(b, uint32(p.rootDelay))
	b = binary.BigEndian.AppendUint32(b, uint32(p.rootDispersion))
	b = append(b, p.refID[:]...)
	for _, t := range [...]ntpTime{p.reference, p.origin, p.receive, p.transmit} {
		b = binary.BigEndian.AppendUint64(b, uint64(t))
	}
	return b
}

// ntpEpoch is 1900, where era 0 of NTP begins, in Unix time.
const ntpEpoch = -2208988800

// ntpTime is a timestamp: seconds of an era and, in the lower half, 2^-32
// seconds. An era is 2^32 seconds long; era 1 begins at 2036-02-07T06:28:16Z.
// Zero is no time: RFC 5905, section 6.
type ntpTime uint64

// toNTPTime returns t's place in its era, rounded down, but never zero.
func toNTPTime(t time.Time) ntpTime {
	n := ntpTime(uint32(t.Unix()-ntpEpoch))<<32 | ntpTime(uint64(t.Nanosecond())<<32/1e9)
	return max(n, 1)
}

// near returns the time that n is, in that era in which it is less than 68 years
// away from a time that is known.
func (n ntpTime) near(known time.Time) time.Time {
	ahead := int32(uint32(n>>32) - uint32(known.Unix()-ntpEpoch))
	return time.Unix(known.Unix()+int64(ahead), int64((uint64(uint32(n))*1e9+1<<31)>>32))
}

// ntpShort is a duration in 2^-16 seconds.
type ntpShort uint32

// toNTPShort returns d, rounded up. What is above the range is the most of it.
func toNTPShort(d time.Duration) ntpShort {
	switch {
	case d <= 0:
		return 0
	case d > math.MaxUint32*time.Second>>16:
		return math.MaxUint32
	}
	return ntpShort((uint64(d)<<16 + uint64(time.Second) - 1) / uint64(time.Second))
}
