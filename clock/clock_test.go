package clock

import (
	"errors"
	"sync"
	"testing"
	"time"
)

// fake is the time and the kernel's state of a clock, as a test sets them.
type fake struct {
	now   time.Time
	state State
	err   error
	reads int // calls of State
}

func (f *fake) State() (State, error) { f.reads++; return f.state, f.err }
func (f *fake) clock() *Clock         { return New(Config{Now: func() time.Time { return f.now }, Kernel: f}) }

func TestKernelIsReadOnceASecondAtMost(t *testing.T) {
	f := &fake{now: time.Now()}
	c := f.clock()
	if f.reads != 0 {
		t.Error("New read the kernel's state")
	}
	for range 1001 {
		c.Quality(f.now)
		f.now = f.now.Add(5 * time.Millisecond)
	}
	if f.reads != 6 {
		t.Errorf("read %d times from second 0 to 5, want 6", f.reads)
	}
	f.now = f.now.Add(-time.Hour)
	if q := c.Quality(f.now); !q.At.Equal(f.now) {
		t.Error("a Quality from the future counts as fresh")
	}
}

func TestErrorIsNeverBelowTheKernels(t *testing.T) {
	at := time.Now()
	q := &Quality{State: State{MaxError: 3 * time.Millisecond, Offset: -2 * time.Millisecond}, At: at}
	for _, c := range []struct{ age, want time.Duration }{
		{0, 5500 * time.Microsecond}, // the kernel adds its 500 µs once a second
		{1, 6 * time.Millisecond},    // rounded up
		{time.Second, 6 * time.Millisecond},
		{10 * time.Second, 10500 * time.Microsecond},
		{-time.Hour, 5500 * time.Microsecond},
	} {
		if got, ok := q.Error(at.Add(c.age)); got != c.want || !ok {
			t.Errorf("after %v: %v, %v; want %v", c.age, got, ok, c.want)
		}
	}
}

func TestSyncedAndTrusted(t *testing.T) {
	at := time.Now()
	for name, c := range map[string]struct {
		q               Quality
		synced, trusted bool
	}{
		"good":                   {Quality{State: State{MaxError: time.Millisecond}}, true, true},
		"error above the limit":  {Quality{State: State{MaxError: 101 * time.Millisecond}}, true, false},
		"offset above the limit": {Quality{State: State{Offset: -101 * time.Millisecond}}, true, false},
		"no bound":               {Quality{State: State{MaxError: 16 * time.Second}}, false, false},
		"faulty":                 {Quality{State: State{Faulty: true}}, false, false},
		"unknown":                {Quality{Err: errors.New("no")}, false, false},
	} {
		c.q.At = at
		if got := c.q.Synced(); got != c.synced {
			t.Errorf("%s: Synced is %v, want %v", name, got, c.synced)
		}
		if got := c.q.Trusted(at, 100*time.Millisecond); got != c.trusted {
			t.Errorf("%s: Trusted is %v, want %v", name, got, c.trusted)
		}
	}
}

func TestStepsAreCounted(t *testing.T) {
	wall, mono := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), time.Hour
	f := &fake{now: reading(wall, mono)}
	c := f.clock()
	pass := func(onWall, real time.Duration) {
		wall, mono = wall.Add(onWall), mono+real
		f.now = reading(wall, mono)
		c.Quality(f.now)
	}
	pass(2*time.Second, 2*time.Second)
	pass(time.Hour, time.Hour-time.Millisecond)
	if n := c.Steps(); n != 0 {
		t.Fatalf("%d steps of a clock that was not stepped", n)
	}
	pass(3*time.Second, 2*time.Second)
	pass(-10*365*24*time.Hour, time.Second)
	pass(2020*time.Millisecond, 2*time.Second)
	pass(2*time.Second, 2*time.Second)
	pass(-900*time.Millisecond, 100*time.Millisecond) // a leap second, sooner than refreshInterval
	if n := c.Steps(); n != 4 {
		t.Errorf("%d steps, want 4", n)
	}
}

func TestStepIsSeenAfterAMonthWithoutARefresh(t *testing.T) {
	wall := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	f := &fake{now: reading(wall, 0)}
	c := f.clock()
	month := 30 * 24 * time.Hour
	f.now = reading(wall.Add(month+50*time.Millisecond), month)
	c.Quality(f.now)
	if n := c.Steps(); n != 1 {
		t.Errorf("%d steps in a month without a refresh, want 1", n)
	}
}

func TestHostReportsItsState(t *testing.T) {
	c := New(Config{})
	q := c.Quality(c.Now())
	if errors.Is(q.Err, ErrUnsupported) {
		t.Skip(q.Err)
	}
	if q.Err != nil {
		t.Fatal(q.Err)
	}
	if q.MaxError < 0 || q.MaxError > MaxErrorLimit {
		t.Errorf("a maximum error of %v, want 0 to %v", q.MaxError, MaxErrorLimit)
	}
}

func TestQualityFromManyGoroutines(t *testing.T) {
	c := New(Config{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if c.Quality(c.Now().Add(time.Hour)) == nil {
					t.Error("Quality returned nil")
				}
			}
		})
	}
	wg.Wait()
}

func TestFreshQualityAllocatesNothing(t *testing.T) {
	c := New(Config{})
	now := c.Now()
	c.Quality(now)
	if n := testing.AllocsPerRun(1000, func() { c.Quality(now) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkNow(b *testing.B) {
	c := New(Config{})
	for b.Loop() {
		c.Now()
	}
}

func BenchmarkQuality(b *testing.B) {
	c := New(Config{})
	now := c.Now()
	for b.Loop() {
		c.Quality(now)
	}
}
