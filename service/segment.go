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

// segment writes the clock's error bound to the file NOWD_CLOCKBOUND, in shared memory,
// for other programs of the host. Only the first loop's goroutine uses it.
type segment struct {
	writer *clockbound.Writer
	clock  *clock.Clock
	limit  time.Duration // NOWD_CLOCK_MAX_ERROR
	log    *slog.Logger

	written clockbound.Snapshot
	failed  bool // the last update failed
	held    bool // written is from an earlier nowd, still valid, and nothing newer is known
}

const (
	// segmentInterval is the time between two updates of the segment. Clients treat a
	// status older than 5 s as free running.
	segmentInterval = time.Second

	// segmentLife is an upper bound on how long an update is valid. It is short because
	// clients do not see a step of the clock after nowd has ended.
	segmentLife = time.Minute

	// maxDrift is clock.MaxDrift in parts per billion.
	maxDrift = uint32(clock.MaxDrift)

	// noBound stands for an unknown bound: 36 years.
	noBound = time.Duration(1 << 60)
)

// openSegment opens the segment of NOWD_CLOCKBOUND. It returns nil if that is off.
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

// foundDisrupted reports whether an earlier nowd left the segment with the status
// disrupted.
func (g *segment) foundDisrupted() bool { return g.held && g.written.Status == clockbound.Disrupted }

// run makes loop update the segment now and every segmentInterval.
func (g *segment) run(loop *reactor.Loop) {
	loop.After(0, g.update)
	loop.Every(segmentInterval, g.update)
}

// update writes the current quality of the clock.
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
			g.log.Info("the segment is written again")
		}
	}
}

// canHold reports whether the snapshot of an earlier nowd is still valid, and this nowd
// has no error bound yet to replace it.
func (g *segment) canHold(q *clock.Quality, now time.Duration) bool {
	_, known := q.Error(q.At)
	s := &g.written
	return !known && q.Steps == 0 && !q.Disrupted() && s.Status.Bounded() &&
		s.VoidAfter-s.AsOf <= segmentLife && s.AsOf <= now && now < s.VoidAfter
}

// snapshot returns the snapshot for q. asOf was read just before q.
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

// growingError returns the bound for clients. It allows for clients that read the coarse
// clock, as ClockBound's own do.
func growingError(q *clock.Quality) (time.Duration, bool) {
	return q.GrowingError(segmentLife, clockbound.CoarseStep)
}

// life returns the time in which a bound grows to the limit, at most segmentLife.
func life(bound, limit time.Duration) time.Duration {
	if limit-bound >= clock.DriftOver(segmentLife) {
		return segmentLife
	}
	return max(0, limit-bound) * (time.Second / clock.MaxDrift)
}

// segmentStatus returns the status for clients. A bound at or above limit
// (NOWD_CLOCK_MAX_ERROR) counts as unknown.
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

// close closes the segment. If its status is synchronized, close first writes free
// running: nobody confirms the bound any more. Call it after the loop has ended.
func (g *segment) close() {
	if g.written.Status == clockbound.Synchronized {
		g.written.Status = clockbound.FreeRunning
		if err := g.writer.Write(g.written); err != nil {
			g.log.Error("cannot write the segment", "error", err)
		}
	}
	_ = g.writer.Close()
}
