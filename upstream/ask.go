package upstream

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/beevik/ntp"

	"nowd/clock"
	"nowd/query"
)

// sample is one server's answer.
type sample struct{ clock.Measurement }

var (
	errTooOften = errors.New("asked too often")       // a RATE kiss
	errRefused  = errors.New("refused by the server") // a DENY or RSTR kiss
	errUseless  = errors.New("an answer that is of no use")
)

// tooFar is an offset that no clock has, not even one that was never set: an NTP
// timestamp does not tell its era, which is 136 years long.
const tooFar = 68 * 365 * 24 * time.Hour

// ask compares the clock with a server's. It waits for an answer until timeout
// is over or ctx is done.
func ask(ctx context.Context, address string, c *clock.Clock, timeout time.Duration) (*sample, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// The clock that is to be checked, whichever it is.
	r, from, err := query.ExchangeNTP(ctx, address, c.Now)
	if err != nil {
		return nil, err
	}
	switch r.KissCode {
	case "RATE":
		return nil, errTooOften
	case "DENY", "RSTR":
		return nil, fmt.Errorf("%w: %s", errRefused, r.KissCode)
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	m := measurement(r)
	if m.Offset.Abs() > tooFar || m.Bound < 0 || m.Bound >= clock.MaxErrorLimit {
		return nil, fmt.Errorf("%w: an offset of %v within %v", errUseless, m.Offset, m.Bound)
	}
	m.Server, m.RefID = address, refID(from.Addr())
	return &sample{Measurement: m}, nil
}

// measurement returns what a response says of the clock. The server's time is
// that of the clock plus the offset, give or take half the round trip, and true
// to within the server's root distance: RFC 5905, section 10 and appendix
// A.5.5.2. Besides there are the precision of the server's clock, the drift of
// this one during the round trip, a step in that time, and roundings.
func measurement(r *ntp.Response) clock.Measurement {
	sent, received := r.Timestamps.ClientXmit, r.Timestamps.ClientRecv
	took := received.Sub(sent)
	stepped := received.Round(0).Sub(sent.Round(0)) - took
	more := max(0, r.Precision) + drifted(took) + stepped.Abs() + time.Microsecond
	m := clock.Measurement{
		At: received, Offset: r.ClockOffset, Bound: r.RootDistance + more,
		Stratum: r.Stratum, RootDelay: r.RootDelay + r.RTT,
	}
	switch r.Leap {
	case ntp.LeapAddSecond:
		m.Leap = clock.LeapInsert
	case ntp.LeapDelSecond:
		m.Leap = clock.LeapDelete
	}
	return m
}

// refID returns the reference id of a server, by which those who get their time
// from here see that it comes from there: its IPv4 address, or the beginning of
// the MD5 of its IPv6 address (RFC 5905, section 7.3).
func refID(a netip.Addr) (id [4]byte) {
	switch a = a.Unmap(); {
	case a.Is4():
		return a.As4()
	case a.Is6():
		b := a.As16()
		sum := md5.Sum(b[:])
		copy(id[:], sum[:])
	}
	return id
}
