package service

import (
	"errors"

	"nowd/clock"
	"nowd/reactor"
)

// stepWatch makes a descriptor readable when the clock is stepped: *clock.StepWatch.
type stepWatch interface {
	FD() int
	Stepped() (bool, error)
	Close() error
}

// stepHandler handles the steps of the clock, on the first loop.
type stepHandler struct {
	*Service
	watch stepWatch
}

var _ reactor.Handler = (*stepHandler)(nil)

// watchSteps makes the first loop handle the steps of the clock. If the kernel does not
// report steps, nowd detects them by comparing clocks when it refreshes the clock's
// quality.
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
		s.log.Debug("the kernel does not report clock steps", "error", err)
	case err != nil:
		s.log.Warn("the kernel does not report clock steps", "error", err)
	}
}

// Ready implements reactor.Handler.
func (h *stepHandler) Ready(_ int, events reactor.Events) reactor.Events {
	stepped, err := h.watch.Stepped()
	if stepped {
		h.clock.Stepped()
	}
	if err != nil {
		h.log.Error("cannot watch for clock steps any more", "error", err)
		_ = h.workers[0].loop.Remove(h.watch.FD())
		_ = h.watch.Close()
	}
	return events
}

// Removed implements reactor.Handler.
func (h *stepHandler) Removed(_ int, why error) {
	if !errors.Is(why, reactor.ErrClosed) {
		h.log.Error("cannot watch for clock steps any more", "error", why)
	}
	_ = h.watch.Close()
}

// observe logs steps, and updates the segment if its marker or its status has changed. The
// clock calls it with each new quality, under its lock.
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
