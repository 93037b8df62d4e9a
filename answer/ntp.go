package answer

import (
	"time"

	"nowd/clock"
	"nowd/ntp"
)

// NTP makes the answers of an NTP server, versions 1 to 4: RFC 5905. It stores nothing
// about its clients. Several goroutines may use it.
//
// Error bounds are rounded up. While the clock is not synchronised, the leap indicator is
// 3, the stratum 0 (unspecified: RFC 5905, section 7.3) and the kiss code INIT (section
// 7.4). chronyd and ntpd send stratum 0 then too. The client decides whether a
// synchronised clock is accurate enough: the root distance contains the whole error bound.
type NTP struct {
	clock     *clock.Clock
	stratum   uint8
	refID     ntp.RefID
	precision int8
}

// NewNTP returns an NTP that answers with c's time. stratum, from 1 to 15, and refID apply
// without an upstream; with one they follow from it. NewNTP measures the precision of the
// clock, which takes a moment.
func NewNTP(c *clock.Clock, stratum uint8, refID [4]byte) *NTP {
	return &NTP{clock: c, stratum: stratum, refID: refID, precision: precision(c.Now)}
}

// AppendDatagram appends the answer to a client's request. For any other datagram it
// appends nothing. req is the beginning of the request, size its full length, received when
// it arrived, and now when the answer leaves. The answer is never longer than the request:
// extension fields and a MAC after the header are ignored.
func (n *NTP) AppendDatagram(b, req []byte, size int, received, now time.Time) ([]byte, Outcome) {
	p, ok := clientRequest(req, size)
	if !ok {
		return b, NoRequest
	}
	if received.After(now) { // the clock was set back in between
		received = now
	}
	answer := ntp.Packet{
		Version: p.Version, Mode: ntp.ModeServer,
		Poll: p.Poll, Precision: n.precision,
		Origin: p.Transmit, Receive: ntp.TimeOf(received), Transmit: ntp.TimeOf(now),
	}
	if answer.Transmit == answer.Receive {
		answer.Transmit++ // the timestamps must differ: an RFC 9769 client recognises the mode by that
	}
	n.describe(&answer, n.clock.Quality(now), now)
	return answer.AppendTo(b), Answered(NTPForm)
}

// Header returns the common fields of all answers from now on, until the state of the clock
// changes: all fields except the version, the poll interval, and the timestamps other than
// the reference time. RootDispersion is that of an answer at now. growth describes how the
// error bound behind it grows; RootDispersion is ntp.ShortOf of that bound, and at least 1.
func (n *NTP) Header(now time.Time) (p ntp.Packet, growth clock.Growth) {
	q := n.clock.Quality(now)
	p.Mode, p.Precision = ntp.ModeServer, n.precision
	n.describe(&p, q, now)
	growth = q.Growth(ntp.MaxDispersion)
	growth.Kernel -= p.RootDelay.Duration() / 2
	growth.Upstream -= p.RootDelay.Duration() / 2
	return p, growth
}

// describe sets the fields that describe the clock.
func (n *NTP) describe(p *ntp.Packet, q *clock.Quality, now time.Time) {
	bound, ok := q.Error(now)
	if !ok {
		bound = ntp.MaxDispersion
	}
	p.Leap, p.Stratum, p.RefID = ntp.Leap(q.Leap), n.stratum, n.refID
	reference := q.At
	if up, ok := q.Upstream(); ok {
		if q.Leap == clock.LeapNone { // the kernel may not know of the leap second
			p.Leap = ntp.Leap(up.Leap)
		}
		reference = up.At
		// At stratum 15 and above, the configured stratum remains. An upstream can reach
		// it if nowd is, directly or indirectly, its own upstream.
		if up.Stratum < ntp.MaxStratum {
			p.Stratum, p.RefID = up.Stratum+1, up.RefID
		}
		p.RootDelay = ntp.ShortOf(up.RootDelay)
		// A client adds half the root delay to the root dispersion.
		bound -= p.RootDelay.Duration() / 2
	}
	if !q.Synced() {
		p.Leap, p.Stratum, p.RefID = ntp.LeapUnsynchronized, ntp.StratumUnspecified, ntp.KissInit.RefID()
	}
	if reference.After(now) { // another loop read the clock a moment later
		reference = now
	}
	p.Reference = ntp.TimeOf(reference)
	p.RootDispersion = max(1, ntp.ShortOf(bound))
}

// The poll intervals that a kiss may ask for, as log2 of seconds. ntpd ignores a value
// outside its own limits, 3 to 17.
const minKissPoll, maxKissPoll = 6, 17

// AppendKiss appends a RATE kiss to b: a packet without a time that asks the client for
// fewer requests (RFC 5905, section 7.4). If the datagram is not a client's request, it
// appends nothing. As in ntpd, the timestamps are the client's own: a client that takes
// them for a time learns nothing. chronyd rejects a kiss that repeats a transmit timestamp.
func (n *NTP) AppendKiss(b, req []byte, size int) ([]byte, Outcome) {
	p, ok := clientRequest(req, size)
	if !ok {
		return b, NoRequest
	}
	kiss := ntp.Packet{
		Leap: ntp.LeapUnsynchronized, Version: p.Version, Mode: ntp.ModeServer,
		Stratum: ntp.StratumUnspecified, RefID: ntp.KissRate.RefID(),
		Poll: min(max(p.Poll, minKissPoll), maxKissPoll), Precision: n.precision,
		Reference: p.Transmit, Origin: p.Transmit, Receive: p.Transmit, Transmit: p.Transmit,
	}
	return kiss.AppendTo(b), Answered(KissForm)
}

// clientRequest parses a client's request, and reports whether it is one. A client of
// version 1 may send mode 0, since RFC 1059 has no modes. Only its port would distinguish
// it from other packets, so it is not answered.
func clientRequest(req []byte, size int) (p ntp.Packet, ok bool) {
	if size < ntp.HeaderSize {
		return p, false
	}
	p, ok = ntp.Parse(req)
	return p, ok && p.Mode == ntp.ModeClient && ntp.MinVersion <= p.Version && p.Version <= ntp.MaxVersion
}

// precision returns the precision of the clock now, as log2 of seconds, rounded up and at
// most half a second. It is the smallest difference between two successive readings: the
// clock's resolution or the time that a reading takes, whichever is larger (RFC 5905,
// section 7.3).
func precision(now func() time.Time) int8 {
	smallest := time.Second / 2
	last := now()
	for range 1000 {
		next := now()
		if d := next.Sub(last); d > 0 {
			smallest = min(smallest, d)
		}
		last = next
	}
	log := int8(-1)
	for time.Second>>(1-log) >= smallest {
		log--
	}
	return log
}
