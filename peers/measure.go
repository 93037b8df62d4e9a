package peers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"nowd/clock"
	"nowd/ntp"
)

const (
	// burst is the number of exchanges in a measurement. The one with the narrowest
	// offset interval counts.
	burst = 4

	// exchangeTimeout is how long an exchange waits for an answer.
	exchangeTimeout = time.Second

	// maxLost is the number of consecutive failed exchanges that ends a burst.
	maxLost = 2
)

// measurement is the result of measuring a member's clock: a Link without its age.
type measurement struct {
	begin, end time.Duration  // on clock.Unsteered
	offset     clock.Interval // of the member's clock from this one
	claim, own Claim
}

// measure measures a member's clock. If every exchange failed, the error is that of the
// last one.
func measure(ctx context.Context, c *clock.Clock, member netip.AddrPort) (best *measurement, err error) {
	lost := 0
	for range burst {
		m, e := exchange(ctx, c, member)
		if e != nil {
			if err = e; ctx.Err() != nil {
				return nil, err
			}
			if lost++; lost == maxLost {
				break
			}
			continue
		}
		lost = 0
		if best == nil || m.offset.High-m.offset.Low < best.offset.High-best.offset.Low {
			best = m
		}
	}
	if best == nil {
		return nil, err
	}
	return best, nil
}

var (
	errKiss       = errors.New("the member refused the request")
	errImpossible = errors.New("impossible answer")
)

// exchange measures a member's clock by one exchange.
func exchange(ctx context.Context, c *clock.Clock, member netip.AddrPort) (*measurement, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	begin, steered := c.Unsteered(), c.Steered()
	r, err := ntp.Exchange(ctx, member.String(), c.Now)
	if err != nil {
		return nil, err
	}
	moved := c.Steered().Minus(steered)
	switch r.KissCode {
	case "", ntp.KissInit, ntp.KissStep: // the latter two mean not synchronised
	default:
		return nil, fmt.Errorf("%w: kiss code %q", errKiss, r.KissCode)
	}
	offset, err := offsetOf(r, max(-moved.Low, moved.High))
	if err != nil {
		return nil, err
	}
	m := &measurement{begin: begin, end: c.Unsteered(), offset: offset, own: claimOf(c)}
	if r.Synchronized() {
		bound := (r.RootDelay+1)/2 + r.RootDispersion
		m.claim = Claim{Synced: true, Bound: &bound}
	}
	return m, nil
}

// offsetOf returns the interval of the offset of the member's clock from this one, by one
// exchange. moved is the maximum by which this clock was steered during the exchange.
//
// The error of the offset is at most half the round trip, however the round trip divides
// into the two directions: RFC 5905, section 8. The interval also covers the drift of both
// clocks during the exchange, the precision of the member's clock, and rounding.
func offsetOf(r *ntp.Response, moved time.Duration) (clock.Interval, error) {
	if r.Delay <= 0 || r.Precision < 0 || r.Precision > time.Second || r.Offset.Abs() > ntp.Era {
		return clock.Interval{}, fmt.Errorf("%w: offset %v, round trip %v, precision %v", errImpossible, r.Offset, r.Delay, r.Precision)
	}
	took := r.Received.Sub(r.Sent)
	return clock.Around(r.Offset, (r.Delay+1)/2+r.Precision+moved+2*clock.DriftOver(took)+time.Microsecond), nil
}

// claimOf returns this host's claim about its clock now.
func claimOf(c *clock.Clock) Claim {
	now := c.Now()
	q := c.Quality(now)
	bound, ok := q.Error(now)
	if !ok || !q.Synced() {
		return Claim{}
	}
	return Claim{Synced: true, Bound: &bound}
}
