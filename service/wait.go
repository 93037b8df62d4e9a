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

// Wait waits until the clock of this host is trusted. It returns the error bound
// then, or, when ctx is done, an error that says what is still missing.
type Wait struct {
	Config     *config.Config
	Limit      time.Duration // upper bound on the error of a clock that is trusted
	ClockBound string        // the segment that decides; empty for the kernel and NOWD_UPSTREAM
	Progress   func(why error)
}

// waitInterval is how often a Wait looks.
const waitInterval = 50 * time.Millisecond

// Run waits. It calls Progress, if that is not nil, once a second.
func (w *Wait) Run(ctx context.Context) (bound time.Duration, err error) {
	look, stop, err := w.start(ctx)
	if err != nil {
		return 0, err
	}
	defer stop()
	tick := time.NewTicker(waitInterval)
	defer tick.Stop()
	for shown := time.Now(); ; {
		bound, why := look()
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

// start returns a function that returns the error bound, or why the clock is not
// trusted yet, and one that ends what start began.
func (w *Wait) start(ctx context.Context) (look func() (time.Duration, error), stop func(), err error) {
	if w.ClockBound != "" {
		var client *clockbound.Client
		return func() (time.Duration, error) { return w.lookAtSegment(&client) }, func() {}, nil
	}
	c, err := newClock(clock.Config{Floor: w.Config.ClockErrorFloor})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var checking sync.WaitGroup
	compare := len(w.Config.Upstream) > 0
	if compare {
		k := upstream.New(upstream.Config{
			Servers: w.Config.Upstream, Interval: w.Config.UpstreamInterval, Clock: c, Logger: slog.New(slog.DiscardHandler),
		})
		checking.Go(func() { k.Run(ctx) })
	}
	look = func() (time.Duration, error) {
		q := c.Refresh()
		if _, compared := q.Upstream(); compare && !compared {
			return 0, errors.New("the clock has not been compared with NOWD_UPSTREAM yet")
		}
		bound, _ := q.Error(q.At)
		return bound, untrusted(q, q.At, w.Limit)
	}
	return look, func() { cancel(); checking.Wait() }, nil
}

// lookAtSegment opens the segment, if that is still to be done: it need not be there
// from the beginning.
func (w *Wait) lookAtSegment(client **clockbound.Client) (time.Duration, error) {
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
	if !now.Status.Bounded() {
		return 0, fmt.Errorf("%s: the clock is %v", w.ClockBound, now.Status)
	}
	bound := (now.Latest.Sub(now.Earliest) + 1) / 2
	return bound, aboveLimit(bound, w.Limit)
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
		return errors.New("the clock is not what the upstream says")
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
	return fmt.Errorf("the clock may be off by %v, more than %v", bound, limit)
}
