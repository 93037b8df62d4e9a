package reactor

import (
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// An interruptedPoller counts the waits that a signal interrupts.
type interruptedPoller struct {
	poller
	interrupts atomic.Int64
}

func (p *interruptedPoller) wait(events []event, timeout time.Duration) ([]event, error) {
	events, err := p.poller.wait(events, timeout)
	if errors.Is(err, unix.EINTR) {
		p.interrupts.Add(1)
	}
	return events, err
}

// Go's scheduler preempts the loop's thread with SIGURG. Each signal interrupts
// the wait.
func TestSignalsDoNotEndATurn(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		p := &interruptedPoller{poller: l.poller}
		l.poller = p
		c := make(chan os.Signal, 1)
		signal.Notify(c, unix.SIGURG) // the program handles the signal too
		defer signal.Stop(c)
		thread := make(chan int, 1)
		var fired atomic.Bool
		l.Post(func() {
			const d = 20 * time.Millisecond
			start := l.clock()
			l.After(d, func() {
				fired.Store(true)
				if took := l.clock() - start; took < d {
					t.Errorf("a timer of %v fired after %v", d, took)
				}
			})
			thread <- unix.Gettid()
		})
		go func() {
			defer l.Stop()
			id := <-thread
			for deadline := time.Now().Add(30 * time.Second); p.interrupts.Load() < 5 || !fired.Load(); time.Sleep(100 * time.Microsecond) {
				if time.Now().After(deadline) {
					t.Errorf("%d interrupts and timer fired %v after 30 s, want 5 and true", p.interrupts.Load(), fired.Load())
					return
				}
				_ = unix.Tgkill(unix.Getpid(), id, unix.SIGURG)
			}
		}()
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
		// The posted function, the timer and Stop end one wait each.
		if got := l.counters.Current(counterTurns); got > 3 {
			t.Errorf("%d turns with %d interrupts, want 3", got, p.interrupts.Load())
		}
	})
}
