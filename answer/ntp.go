package answer

import (
	"time"

	"nowd/clock"
	"nowd/ntp"
)

// NTP makes the answers of an NTP server, versions 1 to 4: RFC 5905. It keeps
// nothing about its clients.
//
// All that an answer says of the clock is rounded against it. As long as the
// clock is not synchronised the leap indicator says so, and the stratum is 0,
// as RFC 5905 (section 7.3) has it for what is unspecified, with the kiss code
// INIT (section 7.4); chronyd and ntpd send stratum 0 then, too. Whether a clock
// that is synchronised is good enough is left to the client: the root dispersion
// has the whole error bound.
type NTP struct {
	clock     *clock.Clock
	stratum   uint8
	refID     ntp.RefID
	precision int8
}

// NewNTP returns an NTP that tells c's time. The stratum, from 1 to 15, and the
// reference id are those of a clock of which nothing but its error is known;
// with an upstream they follow from that. It takes a moment, for it measures how
// finely the clock can be read.
func NewNTP(c *clock.Clock, stratum uint8, refID [4]byte) *NTP {
	return &NTP{clock: c, stratum: stratum, refID: refID, precision: precision(c.Now)}
}

// AppendDatagram appends the answer to a client's request, of which req holds
// the beginning and size is the length, and which arrived when it says; now is
// the time at which the answer leaves. It appends nothing to any other datagram.
// The answer is never longer than the request: what follows the header in it,
// extension fields or a MAC, is not looked at and has no answer.
func (n *NTP) AppendDatagram(b, req []byte, size int, arrived, now time.Time) ([]byte, Outcome) {
	p, ok := clientRequest(req, size)
	if !ok {
		return b, NoRequest
	}
	if arrived.After(now) { // the clock was set back in between
		arrived = now
	}
	answer := ntp.Packet{
		Version: p.Version, Mode: ntp.ModeServer,
		Poll: p.Poll, Precision: n.precision,
		Origin: p.Transmit, Receive: ntp.TimeOf(arrived), Transmit: ntp.TimeOf(now),
	}
	if answer.Transmit == answer.Receive {
		answer.Transmit++ // RFC 9769 tells its modes apart by their being different
	}
	n.describe(&answer, n.clock.Quality(now), now)
	return answer.AppendTo(b), Answered(NTPForm)
}

// Header returns the fields that the answers from now on have in common, until
// more is known of the clock: all but the version, the poll interval, and the
// timestamps other than the reference time. RootDispersion is that of an answer
// at now; growth is how the bound grows that it is made of, by ntp.ShortOf, and
// at least 1.
func (n *NTP) Header(now time.Time) (p ntp.Packet, growth clock.Growth) {
	q := n.clock.Quality(now)
	p.Mode, p.Precision = ntp.ModeServer, n.precision
	n.describe(&p, q, now)
	growth = q.Growth(ntp.MaxDispersion)
	growth.Kernel -= p.RootDelay.Duration() / 2
	growth.Upstream -= p.RootDelay.Duration() / 2
	return p, growth
}

// describe fills in what is known of the clock.
func (n *NTP) describe(p *ntp.Packet, q *clock.Quality, now time.Time) {
	bound, ok := q.Error(now)
	if !ok {
		bound = ntp.MaxDispersion
	}
	p.Leap, p.Stratum, p.RefID = ntp.Leap(q.Leap), n.stratum, n.refID
	reference := q.At
	if up, ok := q.Upstream(); ok {
		if q.Leap == clock.LeapNone { // of which the kernel may not have been told
			p.Leap = ntp.Leap(up.Leap)
		}
		reference = up.At
		// Where that would be none our own does: we, or those whom we ask, may
		// have us for an upstream.
		if up.Stratum < ntp.MaxStratum {
			p.Stratum, p.RefID = up.Stratum+1, up.RefID
		}
		p.RootDelay = ntp.ShortOf(up.RootDelay)
		// A client takes half the delay and the dispersion for our error.
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

// The poll intervals that a kiss may ask for, log2 of seconds. ntpd takes no
// notice of one outside its own limits, 3 to 17.
const minKissPoll, maxKissPoll = 6, 17

// AppendKiss appends a RATE kiss to a client's request: a packet that has no
// time, and asks for fewer requests (RFC 5905, section 7.4). It appends nothing
// to any other datagram. Its timestamps are the client's own, as ntpd has it: a
// client that takes them for a time learns nothing, and chronyd would not
// believe a kiss whose transmit timestamp is the same time and again.
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

// clientRequest reads a client's request. A client of version 1 may send mode 0
// as well, RFC 1059 having had no modes; it is told from others by its port
// only, and is not answered.
func clientRequest(req []byte, size int) (p ntp.Packet, ok bool) {
	if size < ntp.HeaderSize {
		return p, false
	}
	p, ok = ntp.Parse(req)
	return p, ok && p.Mode == ntp.ModeClient && ntp.MinVersion <= p.Version && p.Version <= ntp.MaxVersion
}

// precision returns how finely now reads the time, as log2 of seconds, rounded
// up: the least by which a reading differs from the one before, which is the
// clock's resolution or the time that it takes to read it, whichever is more
// (RFC 5905, section 7.3). It is never more than half a second.
func precision(now func() time.Time) int8 {
	least := time.Second / 2
	last := now()
	for range 1000 {
		next := now()
		if d := next.Sub(last); d > 0 {
			least = min(least, d)
		}
		last = next
	}
	log := int8(-1)
	for time.Second>>(1-log) >= least {
		log--
	}
	return log
}
