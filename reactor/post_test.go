package reactor

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// A posted function waits for one handler or timer at most. A function that it
// posts waits for the next one.
func TestPostedFunctionRunsBetweenTwoHandlers(t *testing.T) {
	for _, due := range []struct {
		what string
		make func(t *testing.T, l *Loop, run func())
	}{
		{"timers", func(t *testing.T, l *Loop, run func()) {
			l.After(0, run)
		}},
		{"writers", func(t *testing.T, l *Loop, run func()) {
			fd, _ := pair(t)
			add(t, l, fd, PollOut, &recorder{do: func(fd int, _ Events) {
				modify(t, l, fd, PollIn)
				run()
			}})
		}},
		{"handlers", func(t *testing.T, l *Loop, run func()) {
			fd, peer := pair(t)
			add(t, l, fd, PollIn, &recorder{do: func(fd int, _ Events) {
				drain(fd)
				run()
			}})
			write(t, peer, "x")
		}},
	} {
		t.Run(due.what, func(t *testing.T) {
			eachPoller(t, func(t *testing.T, l *Loop) {
				var got []string
				first := true
				for range 3 {
					due.make(t, l, func() {
						got = append(got, "due")
						if !first {
							return
						}
						first = false
						l.Post(func() { panic("the other posted functions still run") })
						l.Post(func() {
							got = append(got, "posted")
							l.Post(func() { got = append(got, "posted again") })
						})
					})
				}
				runUntil(t, l, func() bool { return len(got) == 5 })
				if want := []string{"due", "posted", "due", "posted again", "due"}; !slices.Equal(got, want) {
					t.Errorf("%q, want %q", got, want)
				}
			})
		})
	}
}

// The loop changes between busy and idle. While it is busy, posted functions run
// between handlers. While it is idle, they run after a wait. No change loses a
// wake-up.
func TestNoWakeUpIsLostWhetherTheLoopIsBusyOrNot(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		fd, peer := pair(t)
		h := &recorder{}
		h.do = func(int, Events) { h.got = h.got[:0] } // the descriptor stays readable
		add(t, l, fd, PollIn, h)
		write(t, peer, "x")
		var posting sync.WaitGroup
		for range 4 {
			posting.Go(func() {
				for i := range 300 {
					ran := make(chan struct{})
					l.Post(func() {
						interest := PollIn
						if i%3 == 0 {
							interest = 0
						}
						modify(t, l, fd, interest)
						close(ran)
					})
					select {
					case <-ran:
					case <-time.After(30 * time.Second):
						t.Error("a posted function did not run within 30 s")
						return
					}
				}
			})
		}
		go func() { posting.Wait(); l.Stop() }()
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestThreadIsThatOfTheHandlers(t *testing.T) {
	l := newLoop(t, "auto")
	if got := l.Thread(); got != 0 {
		t.Errorf("before Run: thread %d, want 0", got)
	}
	l.Post(func() {
		if got := l.Thread(); got != threadID() {
			t.Errorf("thread %d, want %d", got, threadID())
		}
	})
	l.After(3*yieldInterval, func() {
		if got := l.Thread(); got != threadID() {
			t.Errorf("after a yield: thread %d, want %d", got, threadID())
		}
		l.Stop()
	})
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if got := l.Thread(); got != 0 {
		t.Errorf("after Run: thread %d, want 0", got)
	}
}
