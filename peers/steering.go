package peers

import (
	"time"

	"nowd/clock"
)

// history is how far the clock was steered in the past. Without it, others could not
// use older measurements.
type history struct {
	open    clock.Interval // what was read since the last window was closed
	started bool
	windows []window // the oldest first
}

// window is what was read between two moments.
type window struct {
	end   time.Duration // the last reading, on clock.Unsteered
	ahead clock.Interval
}

// read adds a reading of the clock to the open window.
func (h *history) read(c *clock.Clock) {
	ahead := c.Steered()
	if h.started {
		ahead = ahead.Hull(h.open)
	}
	h.open, h.started = ahead, true
}

// close reads the clock, and begins another window with that reading. It forgets
// windows that ended before keep was last.
func (h *history) close(c *clock.Clock, keep time.Duration) {
	h.read(c)
	now := c.Unsteered()
	h.windows = append(h.windows, window{now, h.open})
	h.open = c.Steered()
	for len(h.windows) > 1 && now-h.windows[1].end > keep {
		h.windows = h.windows[1:]
	}
}

// document returns the history, the newest first, up to now, which is on
// clock.Unsteered.
func (h *history) document(c *clock.Clock) (all []Steering, now time.Duration) {
	h.read(c)
	now = c.Unsteered()
	all = append(all, Steering{0, h.open.Low, h.open.High})
	for k := len(h.windows) - 1; k >= 0; k-- {
		w := h.windows[k]
		all = append(all, Steering{now - w.end, w.ahead.Low, w.ahead.High})
	}
	return all, now
}
