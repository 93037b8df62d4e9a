package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"nowd/clock"
	"nowd/clockbound"
	"nowd/config"
	"nowd/upstream"
)

// Wait waits until the clock of this host is trusted.
type Wait struct {
	Config     *config.Config
	Limit      time.Duration   // the highest error bound of a trusted clock
	ClockBound string          // path of the segment that decides; empty for the kernel and NOWD_UPSTREAM
	Progress   func(why error) // called once a second with why the clock is not trusted; may be nil
}

// waitInterval is the time between two checks of the clock.
const waitInterval = 50 * time.Millisecond

// Run waits until the clock is trusted, and returns its error bound. If ctx is done first,
// Run returns an error with the cause of ctx and why the clock is not trusted.
func (w *Wait) Run(ctx context.Context) (bound time.Duration, err error) {
	check, stop, err := w.start(ctx)
	if err != nil {
		return 0, err
	}
	defer stop()
	tick := time.NewTicker(waitInterval)
	defer tick.Stop()
	for shown := time.Now(); ; {
		bound, why := check()
		if why == nil {
			return bound, nil
		}
		if w.Progress != nil && time.Since(shown) >= time.Second {
			shown = time.Now()
			w.Progress(why)
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", context.Cause(ctx), why)
		case <-tick.C:
		}
	}
}

// start returns two functions: check returns the error bound, or why the clock is not
// trusted; stop releases what start has opened.
func (w *Wait) start(ctx context.Context) (check func() (time.Duration, error), stop func(), err error) {
	if w.ClockBound != "" {
		var client *clockbound.Client
		return func() (time.Duration, error) { return w.checkSegment(&client) }, func() {}, nil
	}
	c, err := newClock(clock.Config{Floor: w.Config.ClockErrorFloor})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var measuring sync.WaitGroup
	compare := len(w.Config.Upstream) > 0
	if compare {
		checker := upstream.New(upstream.Config{
			Servers: w.Config.Upstream, Interval: w.Config.UpstreamInterval, Clock: c, Logger: slog.New(slog.DiscardHandler),
		})
		measuring.Go(func() { checker.Run(ctx) })
	}
	check = func() (time.Duration, error) {
		q := c.Refresh()
		if _, compared := q.Upstream(); compare && !compared {
			return 0, errors.New("the clock has not been compared with NOWD_UPSTREAM yet")
		}
		bound, _ := q.Error(q.At)
		return bound, untrusted(q, q.At, w.Limit)
	}
	return check, func() { cancel(); measuring.Wait() }, nil
}

// checkSegment checks the segment. It opens the segment unless an earlier call could: the
// file may not exist yet when the wait begins.
func (w *Wait) checkSegment(client **clockbound.Client) (time.Duration, error) {
	if *client == nil {
		c, err := clockbound.Open(w.ClockBound)
		if err != nil {
			return 0, err
		}
		*client = c
	}
	now, err := (*client).Now()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", w.ClockBound, err)
	}
	bound, err := (now.Latest.Sub(now.Earliest)+1)/2, error(nil)
	switch {
	case now.Status == clockbound.Disrupted:
		err = fmt.Errorf("the clock was set, or a time server contradicts it (status disrupted); want an error bound of at most %v", w.Limit)
	case !now.Status.Bounded():
		err = fmt.Errorf("the clock is not synchronised, or its error is above the writer's limit (status %v); want an error bound of at most %v", now.Status, w.Limit)
	default:
		err = aboveLimit(bound, w.Limit)
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", w.ClockBound, err)
	}
	return bound, nil
}

// untrusted returns why a clock is not trusted at t, or nil.
func untrusted(q *clock.Quality, t time.Time, limit time.Duration) error {
	bound, ok := q.Error(t)
	switch {
	case q.Trusted(t, limit):
		return nil
	case q.Err != nil:
		return q.Err
	case q.Contradicted():
		return errors.New("NOWD_UPSTREAM contradicts the clock")
	case !ok || !q.Synced():
		return errors.New("the clock is not synchronised")
	}
	return aboveLimit(bound, limit)
}

// aboveLimit returns an error if bound is above limit.
func aboveLimit(bound, limit time.Duration) error {
	if bound <= limit {
		return nil
	}
	return fmt.Errorf("the error bound of the clock is %v; want at most %v", bound, limit)
}
