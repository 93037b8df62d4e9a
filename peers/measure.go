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
	// burst is how many exchanges a measurement consists of. The one with the
	// shortest round trip counts.
	burst = 4

	// exchangeTimeout is how long an answer is waited for.
	exchangeTimeout = time.Second

	// maxLost is how many exchanges of a burst may fail in a row. After that the
	// member counts as silent.
	maxLost = 2
)

// measurement is a link, as of its measurement.
type measurement struct {
	begin, end time.Duration  // on clock.Unsteered
	offset     clock.Interval // of the member's clock from this one
	claim, own Claim
}

// measure measures a member's clock. The error is that of the last exchange, if
// none succeeded.
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
	errKiss       = errors.New("refused")
	errImpossible = errors.New("an impossible answer")
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
	case "", ntp.KissInit, ntp.KissStep: // not synchronised, which is no refusal
	default:
		return nil, fmt.Errorf("%w, with the kiss code %q", errKiss, r.KissCode)
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

// offsetOf returns where the offset of the member's clock from this one lies by
// one exchange, in which this clock was moved by so much at most.
//
// The request arrived after it was sent, and the answer was sent before it
// arrived. That alone bounds the offset by half the round trip, however the two
// ways share it: RFC 5905, section 8. The rest is for the drift of both clocks in
// the meantime, how finely the member reads its clock, and roundings.
func offsetOf(r *ntp.Response, moved time.Duration) (clock.Interval, error) {
	if r.Delay <= 0 || r.Precision < 0 || r.Precision > time.Second || r.Offset.Abs() > ntp.Era {
		return clock.Interval{}, fmt.Errorf("%w: an offset of %v, a round trip of %v", errImpossible, r.Offset, r.Delay)
	}
	took := r.Received.Sub(r.Sent)
	return clock.Around(r.Offset, (r.Delay+1)/2+r.Precision+moved+2*clock.DriftOver(took)+time.Microsecond), nil
}

// claimOf returns what this host claims of its clock now.
func claimOf(c *clock.Clock) Claim {
	now := c.Now()
	q := c.Quality(now)
	bound, ok := q.Error(now)
	if !ok || !q.Synced() {
		return Claim{}
	}
	return Claim{Synced: true, Bound: &bound}
}
