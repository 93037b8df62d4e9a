package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"nowd/clock"
	"nowd/ntp"
)

var (
	errRate     = errors.New("the server asks for fewer requests") // a RATE kiss
	errRefused  = errors.New("the server refuses requests")        // a DENY or RSTR kiss
	errUnusable = errors.New("unusable answer")
)

// maxOffset is the maximum offset of a measurement: half an era, 68 years. A timestamp does
// not contain its era, so larger offsets cannot be recognised.
const maxOffset = ntp.Era / 2

// measure compares the clock with that of a resolved server. It waits for an answer until
// the timeout or until ctx is done.
func measure(ctx context.Context, s *server, c *clock.Clock, timeout time.Duration) (*clock.Measurement, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r, err := ntp.Exchange(ctx, s.resolved.String(), c.Now)
	if err != nil {
		return nil, err
	}
	switch r.KissCode {
	case ntp.KissRate:
		return nil, errRate
	case ntp.KissDeny, ntp.KissRestrict:
		return nil, fmt.Errorf("%w: %s", errRefused, r.KissCode)
	}
	if r.Invalid != nil {
		return nil, r.Invalid
	}
	m := measurement(r)
	if m.Offset.Abs() > maxOffset || m.Bound < 0 || m.Bound >= clock.MaxErrorLimit {
		return nil, fmt.Errorf("%w: offset %v, bound %v", errUnusable, m.Offset, m.Bound)
	}
	m.Server, m.RefID = s.address, ntp.RefIDOf(r.Server.Addr())
	return m, nil
}

// measurement returns the measurement of the clock by a response. The server's time is the
// clock's plus the offset, with an error of at most half the round trip plus the server's
// root distance: RFC 5905, section 10 and appendix A.5.5.2. The bound also covers the
// precision of the server's clock, the drift and the steps of this clock during the round
// trip, and rounding.
func measurement(r *ntp.Response) *clock.Measurement {
	took := r.Received.Sub(r.Sent)
	step := r.Received.Round(0).Sub(r.Sent.Round(0)) - took
	leap, _ := r.Leap.Known()
	return &clock.Measurement{
		At:        r.Received,
		Offset:    r.Offset,
		Bound:     r.RootDistance() + max(0, r.Precision) + clock.DriftOver(took) + step.Abs() + time.Microsecond,
		Stratum:   r.Stratum,
		RootDelay: r.RootDelay + r.Delay,
		Leap:      leap,
	}
}
