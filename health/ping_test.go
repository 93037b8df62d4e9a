package health

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"nowd/reactor"
)

// answering is a loop that answers at once.
type answering struct{}

func (answering) Post(f func()) bool { f(); return true }
func (answering) Thread() int        { return 1 }

// counting is a loop that never answers, and counts the pings.
type counting struct{ posted int }

func (c *counting) Post(func()) bool { c.posted++; return true }
func (c *counting) Thread() int      { return 2 }

// ended is a loop that has ended.
type ended struct{}

func (ended) Post(func()) bool { return false }
func (ended) Thread() int      { return 0 }

// observed returns the check of loops. is returns the activity of their threads at a time
// since the start.
func observed[L Loop](timeout time.Duration, loops []L, is func(since time.Duration) activity) *Loops {
	c, start := NewLoops(timeout, loops), time.Now()
	c.observe = func(int) (activity, error) { return is(time.Since(start)), nil }
	return c
}

func blocked(time.Duration) activity { return activity{blocked: true} }

func TestStuckLoopsAreWaitedForTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // time passes only while all goroutines wait
		c := observed(800*time.Millisecond, []Loop{&counting{}, &counting{}, answering{}, &counting{}}, blocked)
		start := time.Now()
		err := c.Check()
		if !errors.Is(err, ErrNoAnswer) {
			t.Fatal(err)
		}
		for i, want := range []bool{true, true, false, true} {
			if got := strings.Contains(err.Error(), "loop "+string(rune('0'+i))+": "); got != want {
				t.Errorf("loop %d is named %v, want %v: %v", i, got, want, err)
			}
		}
		if took := time.Since(start); took != 800*time.Millisecond {
			t.Errorf("it took %v, want one timeout for all loops", took)
		}
	})
}

func TestStuckLoopIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &counting{}
		c := observed(time.Millisecond, []*counting{l}, blocked)
		for range 5 {
			if err := c.Check(); err == nil {
				t.Error("alive")
			}
		}
		if l.posted != 1 {
			t.Errorf("%d pings, want 1", l.posted)
		}
	})
}

func TestEndedLoopIsNotWaitedFor(t *testing.T) {
	c := NewLoops(time.Hour, []ended{{}})
	if err := c.Check(); !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), "loop 0") {
		t.Error(err)
	}
}

// TestHangIsAHandlerThatUsesCPUOrIsBlocked: the check fails when the handler's CPU time or
// blocked time is over the limit, but not before the timeout.
func TestHangIsAHandlerThatUsesCPUOrIsBlocked(t *testing.T) {
	const slice = 10 * time.Millisecond // of CPU time, in a period
	throttled := func(period time.Duration) func(time.Duration) activity {
		return func(since time.Duration) activity { return activity{cpu: since / period * slice} }
	}
	for _, c := range []struct {
		name    string
		timeout time.Duration
		is      func(time.Duration) activity
		want    time.Duration // when the check fails
		why     string
	}{
		{"busy", 500 * time.Millisecond, throttled(slice), 500 * time.Millisecond, "CPU time"},
		{"busy, short timeout", time.Millisecond, throttled(slice), maxRunCPU, "CPU time"},
		{"busy, half of a CPU", 100 * time.Millisecond, throttled(2 * slice), 2 * maxRunCPU, "CPU time"},
		{"busy, a tenth of a CPU", 500 * time.Millisecond, throttled(10 * slice), 10 * maxRunCPU, "CPU time"},
		{"blocked", 500 * time.Millisecond, blocked, maxBlocked, "blocked"},
		{"blocked, long timeout", 5 * time.Second, blocked, 5 * time.Second, "blocked"},
		{"without CPU time", 500 * time.Millisecond, func(time.Duration) activity { return activity{} }, giveUp + 500*time.Millisecond, "unknown"},
		{"blocked now and then", 500 * time.Millisecond, func(since time.Duration) activity {
			return activity{blocked: since%(400*time.Millisecond) > 100*time.Millisecond}
		}, giveUp + 500*time.Millisecond, "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := observed(c.timeout, []*counting{{}}, c.is)
				start := time.Now()
				err := l.Check()
				if !errors.Is(err, ErrNoAnswer) || !strings.Contains(err.Error(), c.why) {
					t.Error(err)
				}
				if took := time.Since(start); took < c.want || took > c.want+100*time.Millisecond {
					t.Errorf("the check failed after %v, want %v", took, c.want)
				}
				// The next check fails at once: the evidence is known.
				if start = time.Now(); c.why != "unknown" {
					if err := l.Check(); err == nil || time.Since(start) > 2*sampleInterval {
						t.Errorf("the second check: %v, after %v", err, time.Since(start))
					}
				}
			})
		})
	}
}

// A process without CPU time takes no samples, and its time does not count.
func TestTimeWithoutCPUIsNotTimeBlocked(t *testing.T) {
	var w watch
	now := time.Now()
	for range 20 {
		w.add(now, 1, activity{blocked: true})
		now = now.Add(300 * time.Millisecond)
	}
	if w.evidence != "" {
		t.Error(w.evidence)
	}
	for range maxBlocked / sampleInterval {
		w.add(now, 1, activity{blocked: true})
		now = now.Add(sampleInterval)
	}
	if w.evidence == "" {
		t.Error("no evidence for a blocked thread")
	}
	w.add(now, 2, activity{blocked: true, cpu: time.Hour})
	if w.evidence != "" {
		t.Error("the samples of one thread count for another")
	}
}

func TestLoopWhoseThreadCannotBeObservedIsJudgedByTheTimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewLoops(300*time.Millisecond, []*counting{{}})
		c.observe = func(int) (activity, error) { return activity{}, errors.ErrUnsupported }
		start := time.Now()
		if err := c.Check(); err == nil || time.Since(start) != 300*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

func TestThreadsAreObserved(t *testing.T) {
	l := running(t)
	thread, release := make(chan int, 1), make(chan struct{})
	var wait atomic.Bool
	l.Post(func() {
		thread <- l.Thread()
		for !wait.Load() {
		}
		<-release
	})
	defer close(release)
	id := <-thread
	if id < 0 {
		t.Skip("threads have no ids here")
	}
	first, err := observe(id)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a busy thread seems blocked", func() bool { a, err := observe(id); return err == nil && !a.blocked })
	eventually(t, "a busy thread seems to use no CPU time", func() bool {
		a, err := observe(id)
		return err == nil && a.cpu >= first.cpu+50*time.Millisecond
	})
	wait.Store(true)
	eventually(t, "a blocked thread seems to run", func() bool { a, err := observe(id); return err == nil && a.blocked })
	if _, err := observe(1 << 30); err == nil {
		t.Error("a thread that does not exist can be observed")
	}
}

// TestHandlerThatHangsIsSeen: a handler that computes, one that blocks in a system call,
// and one that waits for a goroutine.
func TestHandlerThatHangsIsSeen(t *testing.T) {
	for name, hang := range map[string]func(until <-chan struct{}){
		"busy": func(until <-chan struct{}) {
			var over atomic.Bool
			go func() { <-until; over.Store(true) }()
			for !over.Load() {
			}
		},
		"in a call": func(until <-chan struct{}) {
			var p [2]int
			_ = unix.Pipe(p[:])
			go func() { <-until; _ = unix.Close(p[1]) }()
			_, _ = unix.Read(p[0], make([]byte, 1))
			_ = unix.Close(p[0])
		},
		"for another goroutine": func(until <-chan struct{}) { <-until },
	} {
		t.Run(name, func(t *testing.T) {
			l := running(t)
			c := NewLoops(100*time.Millisecond, []*reactor.Loop{l})
			until, hangs := make(chan struct{}), make(chan struct{})
			l.Post(func() { close(hangs); hang(until) })
			<-hangs
			start := time.Now()
			err := c.Check()
			t.Logf("%v, after %v", err, time.Since(start))
			if !errors.Is(err, ErrNoAnswer) || strings.Contains(err.Error(), "unknown") {
				t.Error(err)
			}
			close(until)
			if err := c.Check(); err != nil {
				t.Errorf("after the handler returned: %v", err)
			}
		})
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}
