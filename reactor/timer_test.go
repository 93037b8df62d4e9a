package reactor

import (
	"slices"
	"testing"
	"time"
)

func TestTimerIsNeverEarly(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		unfired := 0
		for _, d := range []time.Duration{1, time.Microsecond, 1500 * time.Microsecond, 7300 * time.Microsecond, 20 * time.Millisecond} {
			unfired++
			start := time.Now()
			l.After(d, func() {
				unfired--
				if took := time.Since(start); took < d {
					t.Errorf("a timer of %v fired after %v", d, took)
				}
			})
		}
		runUntil(t, l, func() bool { return unfired == 0 })
	})
}

// Pollers count in milliseconds or microseconds. A fraction of a unit must not
// become a timeout of 0.
func TestFractionOfAUnitDoesNotSpin(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		fired := false
		l.After(5999*time.Microsecond+999, func() { fired = true })
		before := l.counters.Current(counterTurns)
		runUntil(t, l, func() bool { return fired })
		if n := l.counters.Current(counterTurns) - before; n > 3 {
			t.Errorf("%d turns for one timer", n)
		}
	})
}

func TestTimeoutsRoundUp(t *testing.T) {
	for _, c := range []struct {
		timeout, unit time.Duration
		want          int
	}{
		{-1, time.Millisecond, -1},
		{-time.Hour, time.Microsecond, -1},
		{0, time.Millisecond, 0},
		{1, time.Millisecond, 1},
		{time.Millisecond, time.Millisecond, 1},
		{time.Millisecond + 1, time.Millisecond, 2},
		{1<<63 - 1, time.Millisecond, 1<<31 - 1},
		{1<<63 - 1, time.Microsecond, 1<<31 - 1},
	} {
		if got := roundUp(c.timeout, c.unit); got != c.want {
			t.Errorf("roundUp(%v, %v) = %d, want %d", c.timeout, c.unit, got, c.want)
		}
	}
}

func TestTimerFiresAsSoonAsItIsDue(t *testing.T) {
	eachPollerWithFakeClock(t, func(t *testing.T, l *Loop, c *fakeClock) {
		c.advance(time.Hour) // the loop's clock need not start at 0
		fired := 0
		l.After(time.Second, func() { fired++ })
		if got := l.timeout(); got != time.Second {
			t.Errorf("the loop would wait for %v, want 1s", got)
		}
		c.advance(time.Second - 1)
		turnOnce(t, l)
		if fired != 0 {
			t.Fatal("fired 1 ns early")
		}
		c.advance(1)
		turnOnce(t, l)
		if fired != 1 {
			t.Fatal("did not fire when it was due")
		}
		c.advance(time.Hour)
		turnOnce(t, l)
		if fired != 1 {
			t.Error("fired twice")
		}
		if got := l.timeout(); got != -1 {
			t.Errorf("the loop would wait for %v, want for ever", got)
		}
	})
}

func TestTimersFireInOrder(t *testing.T) {
	eachPollerWithFakeClock(t, func(t *testing.T, l *Loop, c *fakeClock) {
		var got []int
		l.After(2*time.Millisecond, func() { got = append(got, 3) })
		l.After(0, func() { got = append(got, 1) })
		l.After(0, func() { got = append(got, 2) })
		l.After(3*time.Millisecond, func() { got = append(got, 4) })
		c.advance(5 * time.Millisecond)
		turnOnce(t, l)
		if !slices.Equal(got, []int{1, 2, 3, 4}) {
			t.Errorf("fired in the order %v", got)
		}
	})
}

func TestStoppedTimerDoesNotFire(t *testing.T) {
	eachPollerWithFakeClock(t, func(t *testing.T, l *Loop, clock *fakeClock) {
		var a, b *Timer
		fired := 0
		a = l.After(0, func() { fired++; b.Stop() })
		b = l.After(0, func() { fired++; a.Stop() })
		c := l.After(time.Millisecond, func() { t.Error("a stopped timer fired") })
		if !c.Stop() || c.Stop() {
			t.Error("Stop does not report whether the timer was set")
		}
		clock.advance(3 * time.Millisecond)
		turnOnce(t, l)
		turnOnce(t, l)
		if fired != 1 {
			t.Errorf("%d timers fired, want 1: the first stops the second, due at the same time", fired)
		}
	})
}

// The third call lasts until 161. The call due at 80 comes late, those due at
// 100 to 160 are skipped, and the next is at a multiple of the period again.
func TestEveryKeepsToMultiplesOfItsPeriod(t *testing.T) {
	eachPollerWithFakeClock(t, func(t *testing.T, l *Loop, c *fakeClock) {
		const period = 20 // nanoseconds
		c.advance(3)
		start := c.now()
		var calls []time.Duration
		timer := l.Every(period, func() {
			calls = append(calls, c.now()-start)
			if len(calls) == 3 {
				c.advance(5*period + 1)
			}
		})
		for c.now()-start < 210 {
			turnOnce(t, l)
			c.advance(1)
		}
		if want := []time.Duration{20, 40, 60, 162, 180, 200}; !slices.Equal(calls, want) {
			t.Errorf("called at %d, want %d", calls, want)
		}
		timer.Stop()
		c.advance(3 * period)
		turnOnce(t, l)
		if len(calls) != 6 {
			t.Error("called after Stop")
		}
	})
}

func TestEveryRefusesAPeriodOfZero(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	newLoop(t, "auto").Every(0, func() {})
}

func TestZeroTimerDoesNotStarveDescriptors(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		h := &recorder{}
		add(t, l, a, PollIn, h)
		write(t, b, "x")
		var again func()
		again = func() { l.After(0, again) }
		again()
		runUntil(t, l, func() bool { return len(h.got) >= 3 })
	})
}

func TestPrepareRunsUntilItIsReady(t *testing.T) {
	eachPollerWithFakeClock(t, func(t *testing.T, l *Loop, c *fakeClock) {
		const delay = 5 * time.Millisecond
		var at []time.Duration
		l.Prepare(func() time.Duration {
			at = append(at, c.now())
			if len(at) < 4 {
				return delay
			}
			return 0
		})
		for range 12 {
			turnOnce(t, l)
			c.advance(delay / 2)
		}
		if want := []time.Duration{0, delay, 2 * delay, 3 * delay}; !slices.Equal(at, want) {
			t.Errorf("run at %v, want %v", at, want)
		}
		// The delays do not limit the next wait.
		if got := l.timeout(); got != -1 {
			t.Errorf("the next wait is limited to %v", got)
		}
	})
}

func TestPrepareRunsBeforeTheNextWait(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		ran := false
		l.Prepare(func() time.Duration { ran = true; return 0 })
		l.After(time.Hour, func() {})
		l.Post(func() {})
		if err := l.turn(); err != nil {
			t.Fatal(err)
		}
		if !ran {
			t.Error("the loop waited before the step")
		}
	})
}

func TestStoppedPrepareIsNotRunAgain(t *testing.T) {
	eachPollerWithFakeClock(t, func(t *testing.T, l *Loop, c *fakeClock) {
		n := 0
		p := l.Prepare(func() time.Duration { n++; return time.Millisecond })
		turnOnce(t, l)
		c.advance(time.Millisecond)
		turnOnce(t, l)
		p.Stop()
		c.advance(time.Hour)
		turnOnce(t, l)
		if n != 2 {
			t.Errorf("run %d times, want 2", n)
		}
	})
}
