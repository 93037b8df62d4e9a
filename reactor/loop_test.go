package reactor

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestReadableDescriptorIsReportedUntilRead(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		h := &recorder{}
		add(t, l, a, PollIn, h)
		turnOnce(t, l)
		if len(h.got) != 0 {
			t.Fatalf("reported %v with nothing to read", h.got)
		}
		write(t, b, "x")
		turnOnce(t, l)
		turnOnce(t, l)
		if len(h.got) != 2 || h.got[0] != PollIn || h.got[1] != PollIn {
			t.Fatalf("got %v, want IN twice", h.got)
		}
		drain(a)
		turnOnce(t, l)
		if len(h.got) != 2 {
			t.Fatalf("got %v after the data was read", h.got)
		}
	})
}

func TestEmptyMaskReportsNothingToRead(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		h := &recorder{}
		add(t, l, a, 0, h)
		write(t, b, "x")
		turnOnce(t, l)
		if len(h.got) != 0 {
			t.Fatalf("got %v for an empty mask", h.got)
		}
		modify(t, l, a, PollIn)
		turnOnce(t, l)
		if h.last() != PollIn {
			t.Fatalf("got %v, want IN", h.got)
		}
	})
}

func TestRegistrationErrors(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, _ := pair(t)
		h := &recorder{}
		add(t, l, a, PollIn, h)
		if err := l.Add(a, PollIn, h); !errors.Is(err, ErrRegistered) {
			t.Errorf("second Add: %v", err)
		}
		if err := l.Remove(a); err != nil {
			t.Errorf("Remove: %v", err)
		}
		if err := l.Remove(a); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("second Remove: %v", err)
		}
		if err := l.Modify(a, PollIn); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("Modify: %v", err)
		}
		if err := l.Modify(1<<20, PollIn); !errors.Is(err, ErrNotRegistered) {
			t.Errorf("Modify of a descriptor never seen: %v", err)
		}
		if err := l.Add(-1, PollIn, h); !errors.Is(err, unix.EBADF) {
			t.Errorf("Add of -1: %v", err)
		}
		if len(h.removed) != 0 {
			t.Errorf("Removed was called with %v after the handler itself removed the descriptor", h.removed)
		}
	})
}

func TestUnknownPollerIsNamed(t *testing.T) {
	_, err := New(Config{Poller: "kqueue"})
	if err == nil || !strings.Contains(err.Error(), "kqueue") || !strings.Contains(err.Error(), "select") {
		t.Fatalf("got %v, want the unknown name and the allowed ones", err)
	}
}

func TestInterestSwitchedForARequestCostsNoSystemCall(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		c := &countingPoller{poller: l.poller}
		l.poller = c
		a, b := pair(t)
		add(t, l, a, PollIn, &answerer{t: t, l: l})
		for range 100 {
			write(t, b, "?")
			turnOnce(t, l) // reads, adds PollOut, and writes in the same turn
			if n := drain(b); n != 1 {
				t.Fatalf("answered %d bytes after one turn, want 1", n)
			}
		}
		if c.modifyCalls != 0 {
			t.Errorf("%d changes of the kernel's mask, want none", c.modifyCalls)
		}
	})
}

func TestFullSocketIsBackpressure(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		c := &countingPoller{poller: l.poller}
		l.poller = c
		a, b := pair(t)
		filled := fill(t, a)
		s := &answerer{t: t, l: l}
		add(t, l, a, PollIn, s)
		write(t, b, "????")
		turnOnce(t, l)
		turnOnce(t, l)
		if s.unsent != 4 || c.modifyCalls != 1 {
			t.Fatalf("%d bytes unsent, %d changes of the mask; want 4 and 1", s.unsent, c.modifyCalls)
		}
		write(t, b, "more")
		turnOnce(t, l)
		if s.unsent != 4 {
			t.Fatalf("%d bytes unsent, want 4: the handler read while answers were unsent", s.unsent)
		}
		got := 0
		runUntil(t, l, func() bool { got += drain(b); return got == filled+8 })
	})
}

func TestAddWithPollOutIsCalledBeforeTheWait(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, _ := pair(t)
		h := &recorder{do: func(fd int, _ Events) { modify(t, l, fd, 0) }}
		add(t, l, a, PollOut, h)
		turnOnce(t, l)
		turnOnce(t, l)
		if len(h.got) != 1 || h.got[0] != PollOut {
			t.Fatalf("got %v, want OUT once", h.got)
		}
	})
}

func TestHandlerThatKeepsAddingPollOutStarvesNoOther(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, _ := pair(t)
		greedy := &recorder{do: func(fd int, _ Events) {
			modify(t, l, fd, 0)
			modify(t, l, fd, PollOut)
		}}
		add(t, l, a, PollOut, greedy)
		c, d := pair(t)
		other := &recorder{}
		add(t, l, c, PollIn, other)
		write(t, d, "x")
		runUntil(t, l, func() bool { return len(other.got) > 0 })
		if got := cap(l.assumedWritable.items); got > 16 {
			t.Errorf("the queue has grown to %d", got)
		}
	})
}

func TestStaleEventDoesNotReachTheNextRegistration(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, a2 := pair(t)
		b, b2 := pair(t)
		fresh, _ := pair(t)
		successor := &recorder{}
		var reused int
		// Either handler closes the other's descriptor, and reuses its number for
		// a new socket.
		closer := func(other int) func(int, Events) {
			return func(int, Events) {
				if reused != 0 {
					t.Error("the closed descriptor's handler was called")
					return
				}
				reused = other
				if err := l.Remove(other); err != nil {
					t.Error(err)
				}
				if err := unix.Dup2(fresh, other); err != nil {
					t.Error(err)
				}
				add(t, l, other, PollIn, successor)
			}
		}
		add(t, l, a, PollIn, &recorder{do: closer(b)})
		add(t, l, b, PollIn, &recorder{do: closer(a)})
		write(t, a2, "x")
		write(t, b2, "x")
		turnOnce(t, l)
		if reused == 0 {
			t.Fatal("no handler was called")
		}
		if len(successor.got) != 0 {
			t.Fatalf("the successor got %v", successor.got)
		}
	})
}

func TestEventsOutsideTheInterestAreNotReported(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, a2 := pair(t)
		b, b2 := pair(t)
		calls := 0
		pause := func(other int) *recorder {
			return &recorder{do: func(int, Events) { calls++; modify(t, l, other, 0) }}
		}
		add(t, l, a, PollIn, pause(b))
		add(t, l, b, PollIn, pause(a))
		write(t, a2, "x")
		write(t, b2, "x")
		turnOnce(t, l)
		if calls != 1 {
			t.Fatalf("%d handlers were called, want the first alone", calls)
		}
	})
}

func TestUnhandledHangUpRemovesTheDescriptor(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		if _, ok := l.poller.(*selectPoller); ok {
			t.Skip("select shows a hang-up as PollIn")
		}
		a, b := pair(t)
		h := &recorder{}
		add(t, l, a, 0, h)
		_ = unix.Shutdown(b, unix.SHUT_RDWR)
		runUntil(t, l, func() bool { return len(h.removed) > 0 })
		var unhandled UnhandledError
		if !errors.As(h.removed[0], &unhandled) || unhandled.Events&PollHup == 0 {
			t.Fatalf("removed because of %v, want HUP unhandled", h.removed[0])
		}
		seen := len(h.got)
		turnOnce(t, l)
		if len(h.got) != seen || l.registered(a) {
			t.Fatal("still reported")
		}
	})
}

func TestHandledHangUpKeepsTheDescriptor(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		h := &recorder{handled: PollHup}
		add(t, l, a, PollIn, h)
		_ = unix.Shutdown(b, unix.SHUT_RDWR)
		turnOnce(t, l)
		turnOnce(t, l)
		if len(h.got) != 2 || len(h.removed) != 0 {
			t.Fatalf("got %v, removed %v; want two events and no removal", h.got, h.removed)
		}
	})
}

func TestClosedDescriptorIsRemoved(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		if hasEdge(l) {
			t.Skip("epoll does not report a closed descriptor")
		}
		a, _ := pair(t)
		c, d := pair(t)
		h, other := &recorder{handled: alwaysReported}, &recorder{}
		add(t, l, a, PollIn, h)
		add(t, l, c, PollIn, other)
		same, err := unix.Dup(a)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(same)
		_ = unix.Close(a)
		write(t, d, "x")
		runUntil(t, l, func() bool { return len(h.removed) > 0 && len(other.got) > 0 })
		if err := unix.Dup2(same, a); err != nil { // the clean-up closes a
			t.Fatal(err)
		}
		if got := (UnhandledError{PollNval}); h.removed[0] != got {
			t.Fatalf("removed because of %v, want %v", h.removed[0], got)
		}
	})
}

// A reset is reported together with PollIn. A handler that reads first gets all
// data.
func TestDataBeforeAResetCanBeRead(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		client, server := tcpPair(t)
		write(t, client, "last words")
		if err := unix.SetsockoptLinger(client, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(client)
		var got []byte
		var last error
		h := &recorder{handled: PollErr | PollHup}
		h.do = func(fd int, ev Events) {
			var b [64]byte
			n, err := unix.Read(fd, b[:])
			if n > 0 {
				got = append(got, b[:n]...)
				return
			}
			last = err
			_ = l.Remove(fd)
		}
		add(t, l, server, PollIn, h)
		runUntil(t, l, func() bool { return !l.registered(server) })
		if string(got) != "last words" || last != unix.ECONNRESET {
			t.Fatalf("read %q and then %v", got, last)
		}
	})
}

func TestPanicRemovesThatDescriptorAlone(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		var log bytes.Buffer
		l.log = slog.New(slog.NewTextHandler(&log, nil))
		boom := errors.New("boom")
		a, a2 := pair(t)
		b, b2 := pair(t)
		bad := &recorder{do: func(int, Events) { panic(boom) }}
		good := &recorder{do: func(fd int, _ Events) { drain(fd) }}
		add(t, l, a, PollIn, bad)
		add(t, l, b, PollIn, good)
		write(t, a2, "x")
		write(t, b2, "x")
		runUntil(t, l, func() bool { return len(good.got) == 1 && len(bad.got) == 1 })
		var p *PanicError
		if len(bad.removed) != 1 || !errors.As(bad.removed[0], &p) || !errors.Is(p, boom) {
			t.Fatalf("removed because of %v, want the panic", bad.removed)
		}
		if !bytes.Contains(p.Stack, []byte("TestPanicRemovesThatDescriptorAlone")) || !strings.Contains(log.String(), "boom") {
			t.Error("the stack is not the handler's, or was not logged")
		}
		if want := fmt.Sprintf(" fd=%d ", a); !strings.Contains(log.String(), want) {
			t.Errorf("the log %q does not contain%s", log.String(), want)
		}
		write(t, a2, "x")
		write(t, b2, "x")
		turnOnce(t, l)
		if len(bad.got) != 1 || len(good.got) != 2 {
			t.Fatalf("after the panic the bad handler got %v, the good one %v", bad.got, good.got)
		}
		if s := l.Stats(); s.Panics != 1 {
			t.Errorf("%d panics counted, want 1", s.Panics)
		}
	})
}

func TestPanicInTheCallWithPollOutRemovesTheDescriptor(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, a2 := pair(t)
		h := &recorder{}
		h.do = func(fd int, ev Events) {
			if ev&PollOut != 0 {
				panic("while writing")
			}
			modify(t, l, fd, PollOut)
		}
		add(t, l, a, PollIn, h)
		write(t, a2, "x")
		runUntil(t, l, func() bool { return len(h.removed) == 1 })
	})
}

// panickingTwice is a handler whose methods both panic.
type panickingTwice struct{ removals int }

func (p *panickingTwice) Ready(int, Events) Events { panic("first") }
func (p *panickingTwice) Removed(int, error)       { p.removals++; panic("second") }

func TestPanicInATimerOrPostedFunctionRemovesNoDescriptor(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, a2 := pair(t)
		p := &panickingTwice{}
		add(t, l, a, PollIn, p)
		write(t, a2, "x")
		after := 0
		l.After(0, func() { panic("in a timer") })
		l.After(0, func() { after++ })
		l.Post(func() { panic("in a posted function") })
		l.Post(func() { after++ })
		l.Prepare(func() time.Duration { panic("in a prepare step") })
		runUntil(t, l, func() bool { return after == 2 && p.removals == 1 })
		turnOnce(t, l)
		if s := l.Stats(); s.Panics != 5 {
			t.Errorf("%d panics counted, want 5", s.Panics)
		}
		ran := false
		l.Post(func() { ran = true })
		runUntil(t, l, func() bool { return ran })
	})
}

func TestPostFromManyGoroutinesLosesNothing(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		const goroutines, each = 8, 2000
		ran := make([]int, goroutines)
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				for i := range each {
					if !l.Post(func() {
						if ran[g] != i {
							t.Errorf("goroutine %d: function %d ran, want %d", g, i, ran[g])
						}
						ran[g]++
					}) {
						t.Error("Post returned false")
					}
				}
			})
		}
		go func() { wg.Wait(); l.Stop() }()
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
		for g, n := range ran {
			if n != each {
				t.Errorf("goroutine %d: %d of %d functions ran", g, n, each)
			}
		}
	})
}

func TestPostDoesNotStarveDescriptors(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		h := &recorder{}
		add(t, l, a, PollIn, h)
		write(t, b, "x")
		var again func()
		again = func() { l.Post(again) }
		l.Post(again)
		runUntil(t, l, func() bool { return len(h.got) > 0 })
	})
}

func TestPostAfterCloseIsRefused(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for l.Post(func() {}) {
				}
			})
		}
		l.Post(func() { l.Post(l.Stop) })
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait() // until Post has returned false on each goroutine
		if err := l.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestCloseCallsRemovedOfRegisteredHandlers(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		h, h2 := &recorder{}, &panickingTwice{}
		add(t, l, a, PollIn, h)
		add(t, l, b, PollIn, h2)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if len(h.removed) != 1 || !errors.Is(h.removed[0], ErrClosed) || h2.removals != 1 {
			t.Fatalf("Removed was called with %v, and %d times; want once each, with ErrClosed", h.removed, h2.removals)
		}
	})
}

// With a negative timeout the kernel waits for ever, so an idle loop makes no
// system call.
func TestIdleLoopMakesNoSystemCall(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		p := &countingPoller{poller: l.poller}
		l.poller = p
		a, _ := pair(t)
		add(t, l, a, PollIn, &recorder{})
		l.Post(l.Stop)
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
		// The posted Stop ends the only wait.
		if got := l.counters.Current(counterTurns); got != 1 {
			t.Errorf("%d turns, want 1", got)
		}
		for _, timeout := range p.timeouts {
			if timeout >= 0 {
				t.Errorf("the loop waits for at most %v, want for ever", timeout)
			}
		}
	})
}

// A scriptedPoller returns EINTR from its first waits, and no event from the
// others.
type scriptedPoller struct {
	poller
	interrupts int    // waits that are still to return EINTR
	during     func() // called in each wait
	timeouts   []time.Duration
}

func (p *scriptedPoller) wait(events []event, timeout time.Duration) ([]event, error) {
	p.timeouts = append(p.timeouts, timeout)
	p.during()
	if p.interrupts--; p.interrupts >= 0 {
		return events, os.NewSyscallError("wait", unix.EINTR)
	}
	return events, nil
}

func TestInterruptedWaitIsResumedForTheRestOfItsTime(t *testing.T) {
	c := new(fakeClock)
	l := newLoopWithClock(t, "auto", c.now)
	const ms = time.Millisecond
	p := &scriptedPoller{poller: l.poller, interrupts: 3, during: func() { c.advance(30 * ms) }}
	l.poller = p
	fired := false
	l.After(100*ms, func() { fired = true })
	for range 2 { // in the second turn the timer is due
		if err := l.turn(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []time.Duration{100 * ms, 70 * ms, 40 * ms, 10 * ms, -1}; !slices.Equal(p.timeouts, want) || !fired {
		t.Errorf("timeouts %v, fired %v; want %v, true", p.timeouts, fired, want)
	}
}

func TestEdgeReportsAnEventOncePerChange(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		h := &recorder{}
		err := l.Add(a, PollIn|Edge, h)
		if !hasEdge(l) {
			if !errors.Is(err, ErrEdge) {
				t.Fatalf("Add: %v, want ErrEdge", err)
			}
			add(t, l, a, PollIn, h)
			modify(t, l, a, PollIn|Edge)
			turnOnce(t, l)
			if len(h.removed) != 1 || !errors.Is(h.removed[0], ErrEdge) {
				t.Fatalf("after Modify removed because of %v, want ErrEdge", h.removed)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		write(t, b, "x")
		turnOnce(t, l)
		turnOnce(t, l)
		if len(h.got) != 1 {
			t.Fatalf("got %v, want one event for one change", h.got)
		}
		modify(t, l, a, PollIn|Edge) // the same mask arms it again
		turnOnce(t, l)
		if len(h.got) != 2 {
			t.Fatalf("got %v, want one more after Modify", h.got)
		}
	})
}

func TestSelectRefusesLargeDescriptors(t *testing.T) {
	l := newLoop(t, "select")
	a, _ := pair(t)
	fd, err := unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, unix.FD_SETSIZE)
	if err != nil {
		t.Skipf("no descriptor as large as FD_SETSIZE is available: %v", err)
	}
	defer unix.Close(fd)
	if err := l.Add(fd, PollIn, &recorder{}); err == nil || !strings.Contains(err.Error(), "FD_SETSIZE") {
		t.Fatalf("got %v, want FD_SETSIZE named", err)
	}
}

func TestRequestAllocatesNothing(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		add(t, l, a, PollIn, &answerer{t: t, l: l})
		req, ans := []byte("?"), make([]byte, 16)
		allocs := testing.AllocsPerRun(1000, func() {
			_, _ = unix.Write(b, req)
			if err := l.turn(); err != nil {
				t.Fatal(err)
			}
			if n, _ := unix.Read(b, ans); n != 1 {
				t.Fatalf("answered %d bytes, want 1", n)
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations per request, want none", allocs)
		}
	})
}

// Handlers, timers and posted functions share variables without a lock. If they
// ran on different goroutines, the race detector would report it.
func TestHandlersTimersAndPostedFunctionsRunOneAtATime(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		inside, calls := false, 0
		enter := func() {
			if inside {
				t.Error("two functions run at the same time")
			}
			inside = true
			if calls++; calls == 300 {
				l.Stop()
			}
			inside = false
		}
		a, b := pair(t)
		add(t, l, a, PollIn, &recorder{do: func(int, Events) { enter() }})
		write(t, b, "x") // never read, so reported in each wait
		l.Every(time.Microsecond, enter)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					l.Post(enter)
				}
			})
		}
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	})
}

func TestTurnRunsTimersThenWritersThenReadyHandlers(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		var order []string
		a, b := pair(t)
		c, _ := pair(t)
		add(t, l, a, PollIn, &recorder{do: func(fd int, _ Events) { order = append(order, "ready"); drain(fd) }})
		add(t, l, c, 0, &recorder{do: func(fd int, _ Events) { order = append(order, "writable"); modify(t, l, fd, 0) }})
		write(t, b, "x")
		modify(t, l, c, PollOut)
		l.After(0, func() { order = append(order, "timer") })
		turnOnce(t, l)
		if want := []string{"timer", "writable", "ready"}; !slices.Equal(order, want) {
			t.Errorf("called in the order %v, want %v", order, want)
		}
	})
}

func TestPollOutIsReportedAtOnceEvenIfNotWritable(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		filled := fill(t, a)
		h := &recorder{}
		add(t, l, a, PollOut, h)
		turnOnce(t, l)
		turnOnce(t, l)
		if len(h.got) != 1 || h.got[0] != PollOut {
			t.Fatalf("got %v from a full socket, want OUT once", h.got)
		}
		if got := drain(b); got != filled {
			t.Fatalf("drained %d of %d bytes", got, filled)
		}
		turnOnce(t, l)
		if len(h.got) != 2 {
			t.Fatalf("got %v, want OUT again after the socket was drained", h.got)
		}
	})
}

func TestSelectReportsAHangUpAsPollIn(t *testing.T) {
	l := newLoop(t, "select")
	a, b := pair(t)
	h := &recorder{}
	add(t, l, a, PollIn, h)
	_ = unix.Shutdown(b, unix.SHUT_RDWR)
	turnOnce(t, l)
	if len(h.got) != 1 || h.got[0] != PollIn || len(h.removed) != 0 {
		t.Errorf("got %v, removed %v; want IN and no removal", h.got, h.removed)
	}
}

func TestHandlerFuncClosesItsDescriptorWhenTheLoopRemovesIt(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, _ := pair(t)
		fd, err := unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		add(t, l, fd, PollIn, HandlerFunc(func(int, Events) Events { return 0 }))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != unix.EBADF {
			t.Errorf("the descriptor is still open: %v", err)
		}
	})
}
