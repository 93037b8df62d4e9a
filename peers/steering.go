package peers

import (
	"time"

	"nowd/clock"
)

// history is how far the clock was steered in the past. Evaluating older measurements
// needs it.
type history struct {
	open    clock.Interval // the readings since the last window was closed
	started bool
	windows []window // oldest first
}

// window holds the readings of a period.
type window struct {
	end   time.Duration  // time of the last reading, on clock.Unsteered
	ahead clock.Interval // from the minimum to the maximum reading
}

// read adds a reading of the clock to the open window.
func (h *history) read(c *clock.Clock) {
	ahead := c.Steered()
	if h.started {
		ahead = ahead.Hull(h.open)
	}
	h.open, h.started = ahead, true
}

// close reads the clock, closes the open window, and opens the next one with another
// reading. It keeps the windows of the last keep, and one older one.
func (h *history) close(c *clock.Clock, keep time.Duration) {
	h.read(c)
	now := c.Unsteered()
	h.windows = append(h.windows, window{now, h.open})
	h.open = c.Steered()
	for len(h.windows) > 1 && now-h.windows[1].end > keep {
		h.windows = h.windows[1:]
	}
}

// document returns the history up to now, newest first. now is on clock.Unsteered.
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
