package ntp

import (
	"encoding/binary"

	"nowd/clock"
)

// HeaderSize is the length of a packet without extension fields and MAC, in bytes.
const HeaderSize = 48

// Byte offsets of the header's fields: RFC 5905, figure 8. The first byte holds
// the leap indicator (2 bits), the version (3) and the mode (3).
const (
	offStratum        = 1
	offPoll           = 2
	offPrecision      = 3
	offRootDelay      = 4
	offRootDispersion = 8
	offRefID          = 12
	offReference      = 16
	offOrigin         = 24
	offReceive        = 32
	offTransmit       = 40
)

// The versions of NTP that have this header: RFC 1059, 1119, 1305 and 5905.
const (
	MinVersion = 1
	MaxVersion = 4
)

// Mode is the role of a packet's sender: RFC 5905, figure 10.
type Mode uint8

const (
	ModeReserved         Mode = iota // sent by some clients of version 1
	ModeSymmetricActive              // sent by a peer that asks
	ModeSymmetricPassive             // sent by a peer that answers
	ModeClient
	ModeServer
	ModeBroadcast
	ModeControl // RFC 9327
	ModePrivate
)

// Leap is the leap indicator: RFC 5905, figure 9.
type Leap uint8

const (
	LeapNone           = Leap(clock.LeapNone)
	LeapInsert         = Leap(clock.LeapInsert)
	LeapDelete         = Leap(clock.LeapDelete)
	LeapUnsynchronized = Leap(3) // the clock is not synchronised, and the leap second is unknown
)

// Known returns the leap second that l announces. It returns false if l says that the
// clock is not synchronised.
func (l Leap) Known() (clock.Leap, bool) {
	if l >= LeapUnsynchronized {
		return clock.LeapNone, false
	}
	return clock.Leap(l), true
}

// Strata: RFC 5905, figure 11.
const (
	StratumUnspecified    = 0  // of a kiss, or of a server that is not synchronised
	MaxStratum            = 15 // the highest stratum of a synchronised server
	StratumUnsynchronized = 16 // MAXSTRAT of the RFC
)

// MaxDispersion is the root dispersion of a clock whose error is unknown: MAXDISP of
// RFC 5905.
const MaxDispersion = clock.MaxErrorLimit

// Packet is the header of a packet: RFC 5905, section 7.3.
type Packet struct {
	Leap           Leap
	Version        uint8
	Mode           Mode
	Stratum        uint8
	Poll           int8 // poll interval, log2 of seconds
	Precision      int8 // resolution of the sender's clock, log2 of seconds
	RootDelay      Short
	RootDispersion Short
	RefID          RefID
	Reference      Time // when the sender's clock was last set or corrected
	Origin         Time // transmit timestamp of the request
	Receive        Time // when the request arrived
	Transmit       Time // when this packet left
}

// Synchronized reports whether the sender says that its clock is synchronised.
func (p *Packet) Synchronized() bool { return synchronized(p.Leap, p.Stratum) }

func synchronized(l Leap, stratum uint8) bool {
	return l != LeapUnsynchronized && StratumUnspecified < stratum && stratum <= MaxStratum
}

// Parse decodes the header at the beginning of b. It returns false if b is shorter
// than a header.
func Parse(b []byte) (p Packet, ok bool) {
	if len(b) < HeaderSize {
		return p, false
	}
	return Packet{
		Leap: Leap(b[0] >> 6), Version: b[0] >> 3 & 7, Mode: Mode(b[0] & 7),
		Stratum: b[offStratum], Poll: int8(b[offPoll]), Precision: int8(b[offPrecision]),
		RootDelay:      Short(binary.BigEndian.Uint32(b[offRootDelay:])),
		RootDispersion: Short(binary.BigEndian.Uint32(b[offRootDispersion:])),
		RefID:          RefID(b[offRefID:]),
		Reference:      Time(binary.BigEndian.Uint64(b[offReference:])),
		Origin:         Time(binary.BigEndian.Uint64(b[offOrigin:])),
		Receive:        Time(binary.BigEndian.Uint64(b[offReceive:])),
		Transmit:       Time(binary.BigEndian.Uint64(b[offTransmit:])),
	}, true
}

// AppendTo appends the encoded header to b.
func (p *Packet) AppendTo(b []byte) []byte {
	b = append(b, byte(p.Leap)<<6|p.Version<<3|byte(p.Mode), p.Stratum, byte(p.Poll), byte(p.Precision))
	b = binary.BigEndian.AppendUint32(b, uint32(p.RootDelay))
	b = binary.BigEndian.AppendUint32(b, uint32(p.RootDispersion))
	b = append(b, p.RefID[:]...)
	for _, t := range [...]Time{p.Reference, p.Origin, p.Receive, p.Transmit} {
		b = binary.BigEndian.AppendUint64(b, uint64(t))
	}
	return b
}
