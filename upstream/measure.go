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
	errRate    = errors.New("asked too often")       // a RATE kiss
	errRefused = errors.New("refused by the server") // a DENY or RSTR kiss
	errUseless = errors.New("an answer that is of no use")
)

// maxOffset is the largest offset that a measurement may have. A timestamp does
// not tell its era, so none can be larger than half an era, 68 years.
const maxOffset = ntp.Era / 2

// measure compares the clock with that of a server that was looked up. It waits
// for an answer until timeout is over or ctx is done.
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
		return nil, fmt.Errorf("%w: an offset of %v within %v", errUseless, m.Offset, m.Bound)
	}
	m.Server, m.RefID = s.address, ntp.RefIDOf(r.Server.Addr())
	return m, nil
}

// measurement returns what a response says of the clock. The server's time is
// the clock's plus the offset, give or take half the round trip, and true to
// within the server's root distance: RFC 5905, section 10 and appendix A.5.5.2.
// The bound also covers the precision of the server's clock, the drift of this
// one during the round trip, a step during it, and roundings.
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
