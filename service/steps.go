package service

import (
	"errors"

	"nowd/clock"
	"nowd/reactor"
)

// stepWatch announces the steps of the clock at a descriptor: *clock.StepWatch.
type stepWatch interface {
	FD() int
	Stepped() (bool, error)
	Close() error
}

// stepHandler handles the announcements of steps, on the first loop.
type stepHandler struct {
	*Service
	watch stepWatch
}

var _ reactor.Handler = (*stepHandler)(nil)

// watchSteps has the first loop handle announcements of steps. Where the kernel
// makes none, a step is seen by comparison alone, when the clock's quality is next
// refreshed.
func (s *Service) watchSteps() {
	watch, err := newStepWatch()
	if err == nil {
		h := &stepHandler{s, watch}
		if err = s.workers[0].loop.Add(watch.FD(), reactor.PollIn, h); err != nil {
			_ = watch.Close()
		}
	}
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		s.log.Debug("steps of the clock are not announced", "error", err)
	case err != nil:
		s.log.Warn("steps of the clock are not announced", "error", err)
	}
}

// Ready implements reactor.Handler.
func (h *stepHandler) Ready(_ int, events reactor.Events) reactor.Events {
	stepped, err := h.watch.Stepped()
	if stepped {
		h.clock.Stepped()
	}
	if err != nil {
		h.log.Error("steps of the clock are announced no more", "error", err)
		_ = h.workers[0].loop.Remove(h.watch.FD())
		_ = h.watch.Close()
	}
	return events
}

// Removed implements reactor.Handler.
func (h *stepHandler) Removed(_ int, why error) {
	if !errors.Is(why, reactor.ErrClosed) {
		h.log.Error("steps of the clock are announced no more", "error", why)
	}
	_ = h.watch.Close()
}

// observe is called with each new quality of the clock. It logs steps, and has the
// segment written if its marker or its status has changed.
func (s *Service) observe(q *clock.Quality) {
	stepped := q.Steps != s.observed.steps
	if stepped {
		s.log.Warn("the clock was stepped", "by", q.LastStep, "steps", q.Steps)
	}
	status := segmentStatus(q, s.config.ClockMaxError)
	if s.segment != nil && (stepped || status != s.observed.status) {
		s.workers[0].loop.Post(s.segment.update)
	}
	s.observed.steps, s.observed.status = q.Steps, status
}
