package reactor

import (
	"slices"
	"testing"
	"time"
)

func TestTimerIsNeverEarly(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		left := 0
		for _, d := range []time.Duration{1, time.Microsecond, 1500 * time.Microsecond, 7300 * time.Microsecond, 20 * time.Millisecond} {
			left++
			start := time.Now()
			l.After(d, func() {
				left--
				if took := time.Since(start); took < d {
					t.Errorf("a timer of %v fired after %v", d, took)
				}
			})
		}
		turns(t, l, func() bool { return left == 0 })
	})
}

// TestFractionOfAUnitDoesNotSpin: pollers count in milliseconds or
// microseconds, and what is left below that must not become a zero time-out.
func TestFractionOfAUnitDoesNotSpin(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		fired := false
		l.After(5999*time.Microsecond+999, func() { fired = true })
		before := l.counters.own[counterTurns]
		turns(t, l, func() bool { return fired })
		if n := l.counters.own[counterTurns] - before; n > 3 {
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
		if got := ceil(c.timeout, c.unit); got != c.want {
			t.Errorf("ceil(%v, %v) = %d, want %d", c.timeout, c.unit, got, c.want)
		}
	}
}

func TestTimersFireInOrder(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		var got []int
		l.After(2*time.Millisecond, func() { got = append(got, 3) })
		l.After(0, func() { got = append(got, 1) })
		l.After(0, func() { got = append(got, 2) })
		l.After(3*time.Millisecond, func() { got = append(got, 4) })
		turns(t, l, func() bool { return len(got) == 4 })
		if !slices.IsSorted(got) {
			t.Errorf("fired in the order %v", got)
		}
	})
}

func TestStoppedTimerDoesNotFire(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		var a, b *Timer
		fired := 0
		a = l.After(0, func() { fired++; b.Stop() })
		b = l.After(0, func() { fired++; a.Stop() })
		c := l.After(time.Millisecond, func() { t.Error("a stopped timer fired") })
		if !c.Stop() || c.Stop() {
			t.Error("Stop does not tell whether the timer was due")
		}
		done := false
		l.After(3*time.Millisecond, func() { done = true })
		turns(t, l, func() bool { return done })
		if fired != 1 {
			t.Errorf("%d fired, want one: it stopped the other, due at the same time", fired)
		}
	})
}

func TestEveryKeepsToMultiplesOfItsPeriod(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		const period = 2 * time.Millisecond
		var calls []time.Duration
		start := l.clock()
		timer := l.Every(period, func() {
			calls = append(calls, l.clock()-start)
			if len(calls) == 3 {
				time.Sleep(5 * period) // several are missed
			}
		})
		first := timer.when
		turns(t, l, func() bool { return len(calls) == 10 })
		if off := (timer.when - first) % period; off != 0 {
			t.Errorf("drifted by %v", off)
		}
		for i := 1; i < len(calls); i++ {
			if i != 3 && calls[i] < time.Duration(i)*period {
				t.Errorf("call %d came after %v", i, calls[i])
			}
		}
		// After the long one came one call at once at the most, not five.
		if between := calls[5] - calls[3]; between < period {
			t.Errorf("calls in a burst: %v", calls)
		}
		timer.Stop()
		n := len(calls)
		done := false
		l.After(3*period, func() { done = true })
		turns(t, l, func() bool { return done })
		if len(calls) != n {
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
		turns(t, l, func() bool { return len(h.got) >= 3 })
	})
}

func TestPrepareRunsUntilItIsReady(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		const again = 5 * time.Millisecond
		var at []time.Time
		l.Prepare(func() time.Duration {
			at = append(at, time.Now())
			if len(at) < 4 {
				return again
			}
			return 0
		})
		before := l.counters.own[counterTurns]
		turns(t, l, func() bool { return len(at) == 4 })
		if n := l.counters.own[counterTurns] - before; n > 8 {
			t.Errorf("%d turns for three retries", n)
		}
		for i := 1; i < len(at); i++ {
			if d := at[i].Sub(at[i-1]); d < again {
				t.Errorf("run again after %v, asked for %v", d, again)
			}
		}
		// Its wish held for those waits only: nothing caps the next one.
		if d := l.timeout(); d > 0 && d < 5*time.Second {
			t.Errorf("the next wait is capped at %v", d)
		}
		once(t, l)
		if len(at) != 4 {
			t.Error("run again after it was ready")
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
	eachPoller(t, func(t *testing.T, l *Loop) {
		n := 0
		p := l.Prepare(func() time.Duration { n++; return time.Millisecond })
		turns(t, l, func() bool { return n == 2 })
		p.Stop()
		done := false
		l.After(5*time.Millisecond, func() { done = true })
		turns(t, l, func() bool { return done })
		if n != 2 {
			t.Errorf("run %d times, want 2", n)
		}
	})
}
