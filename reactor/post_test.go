package reactor

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// Whatever is due, a posted function waits for one handler or timer at most. One
// that it posts itself waits for the next.
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
						l.Post(func() { panic("a panic costs the others nothing") })
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

// A handler that is called in every turn, and then no more: posted functions run
// in one case between handlers, in the other after a wait, and the changes from
// one to the other lose no wake-up.
func TestNoWakeUpIsLostWhetherTheLoopIsBusyOrNot(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		fd, peer := pair(t)
		h := &recorder{}
		h.do = func(int, Events) { h.got = h.got[:0] } // which leaves the descriptor readable
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
						t.Error("a posted function does not run")
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
		t.Errorf("before Run it is %d", got)
	}
	l.Post(func() {
		if got := l.Thread(); got != threadID() {
			t.Errorf("it is %d, want %d", got, threadID())
		}
	})
	l.After(3*yieldInterval, func() {
		if got := l.Thread(); got != threadID() {
			t.Errorf("after it has yielded it is %d, want %d", got, threadID())
		}
		l.Stop()
	})
	if err := l.Run(); err != nil {
		t.Fatal(err)
	}
	if got := l.Thread(); got != 0 {
		t.Errorf("after Run it is %d", got)
	}
}
