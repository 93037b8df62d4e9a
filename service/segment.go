package service

import (
	"fmt"
	"log/slog"
	"time"

	"nowd/clock"
	"nowd/clockbound"
	"nowd/config"
	"nowd/reactor"
)

// segment shares the clock's error bound with programs of the same host, through the
// file NOWD_CLOCKBOUND. It belongs to the first loop's goroutine.
type segment struct {
	writer *clockbound.Writer
	clock  *clock.Clock
	limit  time.Duration // NOWD_CLOCK_MAX_ERROR
	log    *slog.Logger

	written clockbound.Snapshot
	failed  bool // the last update failed
	held    bool // what an earlier nowd wrote is still valid, and nothing newer is known
}

const (
	// segmentInterval is how often the segment is updated. Clients believe a status
	// for 5 s.
	segmentInterval = time.Second

	// segmentLife is an upper bound on how long an update is valid: after the end of
	// nowd, nothing notices a step of the clock.
	segmentLife = time.Minute

	// maxDrift is clock.MaxDrift in parts per billion.
	maxDrift = uint32(clock.MaxDrift)

	// noBound is the bound where none is known: 36 years.
	noBound = time.Duration(1 << 60)
)

// openSegment opens the segment, if the settings have one.
func openSegment(c *config.Config, log *slog.Logger) (*segment, error) {
	if c.ClockBound == "" {
		return nil, nil
	}
	w, err := clockbound.Create(string(c.ClockBound))
	if err != nil {
		return nil, fmt.Errorf("NOWD_CLOCKBOUND=%q: %w", c.ClockBound, err)
	}
	g := &segment{writer: w, limit: c.ClockMaxError, log: log}
	g.written, g.held = w.Found()
	return g, nil
}

// foundDisrupted reports whether the clock was disrupted when an earlier nowd ended.
func (g *segment) foundDisrupted() bool { return g.held && g.written.Status == clockbound.Disrupted }

// run updates the segment as long as the loop runs.
func (g *segment) run(loop *reactor.Loop) {
	loop.After(0, g.update)
	loop.Every(segmentInterval, g.update)
}

// update writes what is known of the clock now.
func (g *segment) update() {
	asOf, err := clockbound.AsOf() // before the clock is read
	if err == nil {
		q := g.clock.Refresh()
		if g.held = g.held && g.canHold(q, asOf); g.held {
			g.written.Status = clockbound.FreeRunning
		} else {
			g.written = g.snapshot(q, asOf)
		}
		err = g.writer.Write(g.written)
	}
	if failed := err != nil; failed != g.failed {
		g.failed = failed
		if failed {
			g.log.Error("cannot write the segment; retrying", "error", err)
		} else {
			g.log.Info("the segment can be written again")
		}
	}
}

// canHold reports whether what an earlier nowd wrote is still valid, and nothing is
// known of the clock yet that could replace it.
func (g *segment) canHold(q *clock.Quality, now time.Duration) bool {
	_, known := q.Error(q.At)
	s := &g.written
	return !known && q.Steps == 0 && !q.Disrupted() && s.Status.Bounded() &&
		s.VoidAfter-s.AsOf <= segmentLife && s.AsOf <= now && now < s.VoidAfter
}

// snapshot returns what clients are to know of q. asOf is from just before it.
func (g *segment) snapshot(q *clock.Quality, asOf time.Duration) clockbound.Snapshot {
	s := clockbound.Snapshot{
		AsOf: asOf, VoidAfter: asOf, Bound: noBound,
		Marker: g.writer.Marker() + q.Steps, MaxDrift: maxDrift, Status: segmentStatus(q, g.limit),
	}
	if bound, ok := growingError(q); ok {
		s.Bound = bound
		s.VoidAfter += life(bound, g.limit)
	}
	return s
}

// growingError returns the bound that clients get. They may read the coarse clock,
// as ClockBound's own do.
func growingError(q *clock.Quality) (time.Duration, bool) {
	return q.GrowingError(segmentLife, clockbound.CoarseStep)
}

// life returns how long it takes a bound to grow to the limit, segmentLife at most.
func life(bound, limit time.Duration) time.Duration {
	if limit-bound >= clock.DriftOver(segmentLife) {
		return segmentLife
	}
	return max(0, limit-bound) * (time.Second / clock.MaxDrift)
}

// segmentStatus returns the status that clients get. A bound above the limit,
// NOWD_CLOCK_MAX_ERROR, counts as none.
func segmentStatus(q *clock.Quality, limit time.Duration) clockbound.Status {
	bound, ok := growingError(q)
	switch {
	case q.Disrupted() || q.Contradicted():
		return clockbound.Disrupted
	case ok && q.Synced() && bound < limit:
		return clockbound.Synchronized
	}
	return clockbound.Unknown
}

// close closes the segment, and lets it say that nothing confirms the bound any more.
// The loop has ended.
func (g *segment) close() {
	if g.written.Status == clockbound.Synchronized {
		g.written.Status = clockbound.FreeRunning
		if err := g.writer.Write(g.written); err != nil {
			g.log.Error("cannot write the segment", "error", err)
		}
	}
	_ = g.writer.Close()
}
