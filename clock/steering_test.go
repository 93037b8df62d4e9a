package clock

import (
	"testing"
	"time"
)

func TestSteeredIsHowFarTheClockWasMoved(t *testing.T) {
	var moved, passed, late time.Duration
	c := New(Config{Now: func() time.Time { return start.Add(passed + moved) }})
	c.start = start
	c.raw = func() time.Duration { passed += late; return passed }
	for _, by := range []time.Duration{0, 80 * time.Millisecond, -time.Hour, time.Microsecond} {
		moved += by
		passed += time.Minute
		if got := c.Steered(); got != (Interval{moved, moved}) {
			t.Errorf("moved by %v, read as %v", moved, got)
		}
	}
	late = time.Millisecond // the process is stopped at each reading
	if got := c.Steered(); got.Low > moved || got.High < moved || got.High-got.Low > 2*time.Millisecond {
		t.Errorf("moved by %v, read as %v", moved, got)
	}
}

func TestUnsteeredAdvances(t *testing.T) {
	for name, c := range map[string]*Clock{"host": New(Config{}), "without raw": New(Config{Now: time.Now})} {
		before, began := c.Unsteered(), time.Now()
		for time.Since(began) < 5*time.Millisecond {
		}
		if after := c.Unsteered(); after-before < 4*time.Millisecond {
			t.Errorf("%s: from %v to %v, want 4 ms more", name, before, after)
		}
		if s := c.Steered(); s.High < s.Low {
			t.Errorf("%s: steered by %v, the ends are not in order", name, s)
		}
	}
}
