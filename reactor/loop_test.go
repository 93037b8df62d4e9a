package reactor

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// eachPoller runs a test of the loop's promises over every poller there is.
func eachPoller(t *testing.T, test func(t *testing.T, l *Loop)) {
	for _, name := range Pollers() {
		t.Run(name, func(t *testing.T) { test(t, newLoop(t, name)) })
	}
}

func newLoop(t testing.TB, poller string) *Loop {
	l, err := New(Config{Poller: poller, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// pair returns two connected stream sockets.
func pair(t testing.TB) (a, b int) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
	}
	return fds[0], fds[1]
}

// impatient does not wait for anything once its condition holds.
type impatient struct {
	poller
	cond func() bool
}

func (p impatient) wait(events []event, timeout time.Duration) ([]event, error) {
	if p.cond() {
		timeout = 0
	}
	return p.poller.wait(events, timeout)
}

// turns runs the loop until cond holds, and fails when that takes too long.
func turns(t *testing.T, l *Loop, cond func() bool) {
	t.Helper()
	defer func(p poller) { l.poller = p }(l.poller)
	l.poller = impatient{l.poller, cond}
	deadline := l.After(10*time.Second, func() {})
	defer deadline.Stop()
	for !cond() {
		if deadline.index < 0 {
			t.Fatal("the condition did not come true within 10 s")
		}
		if err := l.turn(); err != nil {
			t.Fatal(err)
		}
	}
}

// once runs one turn that waits for a moment at most.
func once(t *testing.T, l *Loop) {
	t.Helper()
	timer := l.After(10*time.Millisecond, func() {})
	defer timer.Stop()
	if err := l.turn(); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, fd int, s string) {
	t.Helper()
	if _, err := unix.Write(fd, []byte(s)); err != nil {
		t.Fatal(err)
	}
}

// recorder is a handler that notes what it is told.
type recorder struct {
	got     []Events
	handled Events
	removed []error
	do      func(fd int, ev Events)
}

func (r *recorder) Ready(fd int, ev Events) Events {
	r.got = append(r.got, ev)
	if r.do != nil {
		r.do(fd, ev)
	}
	return PollIn | PollOut | r.handled
}

func (r *recorder) Removed(fd int, why error) { r.removed = append(r.removed, why) }

func (r *recorder) last() Events {
	if len(r.got) == 0 {
		return 0
	}
	return r.got[len(r.got)-1]
}

func add(t testing.TB, l *Loop, fd int, mask Events, h Handler) {
	t.Helper()
	if err := l.Add(fd, mask, h); err != nil {
		t.Fatal(err)
	}
}

func modify(t testing.TB, l *Loop, fd int, mask Events) {
	t.Helper()
	if err := l.Modify(fd, mask); err != nil {
		t.Error(err)
	}
}

func drain(fd int) (n int) {
	var b [64 << 10]byte
	for {
		m, err := unix.Read(fd, b[:])
		if err != nil || m == 0 {
			return n
		}
		n += m
	}
}

// fill writes until the socket takes no more.
func fill(t *testing.T, fd int) (n int) {
	for b := make([]byte, 4096); ; {
		m, err := unix.Write(fd, b)
		if err == unix.EAGAIN {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
}

func TestReadableDescriptorIsReportedUntilRead(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		h := &recorder{}
		add(t, l, a, PollIn, h)
		once(t, l)
		if len(h.got) != 0 {
			t.Fatalf("reported %v with nothing to read", h.got)
		}
		write(t, b, "x")
		once(t, l)
		once(t, l)
		if len(h.got) != 2 || h.got[0] != PollIn || h.got[1] != PollIn {
			t.Fatalf("got %v, want IN twice", h.got)
		}
		drain(a)
		once(t, l)
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
		once(t, l)
		if len(h.got) != 0 {
			t.Fatalf("got %v for an empty mask", h.got)
		}
		modify(t, l, a, PollIn)
		once(t, l)
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
			t.Errorf("told of %v, though it removed itself", h.removed)
		}
	})
}

func TestUnknownPollerIsNamed(t *testing.T) {
	_, err := New(Config{Poller: "kqueue"})
	if err == nil || !strings.Contains(err.Error(), "kqueue") || !strings.Contains(err.Error(), "select") {
		t.Fatalf("got %v, want the name and what is allowed", err)
	}
}

// counting counts the calls that reach the kernel's masks.
type counting struct {
	poller
	modified int
}

func (c *counting) modify(fd int, mask Events, tag uint32) error {
	c.modified++
	return c.poller.modify(fd, mask, tag)
}

// answerer reads at PollIn and answers at PollOut, switching its interest in
// between, as the time service does.
type answerer struct {
	t    testing.TB
	l    *Loop
	owed int
	buf  [512]byte
}

func (s *answerer) Ready(fd int, ev Events) Events {
	if ev&PollIn != 0 {
		n, err := unix.Read(fd, s.buf[:])
		if err == nil {
			s.owed += n
			modify(s.t, s.l, fd, PollOut)
		}
	}
	if ev&PollOut != 0 {
		for s.owed > 0 {
			n, err := unix.Write(fd, s.buf[:min(s.owed, len(s.buf))])
			if err != nil {
				return PollOut
			}
			s.owed -= n
		}
		modify(s.t, s.l, fd, PollIn)
	}
	return ev
}

func (s *answerer) Removed(fd int, why error) {
	if !errors.Is(why, ErrClosed) {
		s.t.Errorf("descriptor %d removed: %v", fd, why)
	}
}

func TestSwitchingInterestForARequestTellsTheKernelNothing(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		c := &counting{poller: l.poller}
		l.poller = c
		a, b := pair(t)
		add(t, l, a, PollIn, &answerer{t: t, l: l})
		for range 100 {
			write(t, b, "?")
			once(t, l) // reads and, having turned to PollOut, writes in the same turn
			if n := drain(b); n != 1 {
				t.Fatalf("%d bytes of answer after one turn, want 1", n)
			}
		}
		if c.modified != 0 {
			t.Errorf("%d changes of the kernel's mask, want none", c.modified)
		}
	})
}

func TestFullSocketIsBackPressure(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		c := &counting{poller: l.poller}
		l.poller = c
		a, b := pair(t)
		filled := fill(t, a)
		s := &answerer{t: t, l: l}
		add(t, l, a, PollIn, s)
		write(t, b, "????")
		once(t, l)
		once(t, l)
		if s.owed != 4 || c.modified != 1 {
			t.Fatalf("owed %d, %d changes of mask; want 4 and 1", s.owed, c.modified)
		}
		write(t, b, "more") // not to be read while answers wait
		once(t, l)
		if s.owed != 4 {
			t.Fatalf("owed %d: read while its answers waited", s.owed)
		}
		got := 0
		turns(t, l, func() bool { got += drain(b); return got == filled+8 })
	})
}

func TestAddWithPollOutGetsItsTurnAtOnce(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, _ := pair(t)
		h := &recorder{do: func(fd int, _ Events) { modify(t, l, fd, 0) }}
		add(t, l, a, PollOut, h)
		once(t, l)
		once(t, l)
		if len(h.got) != 1 || h.got[0] != PollOut {
			t.Fatalf("got %v, want OUT once", h.got)
		}
	})
}

func TestHandlerThatKeepsTurningToPollOutStarvesNobody(t *testing.T) {
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
		turns(t, l, func() bool { return len(other.got) > 0 })
		if got := cap(l.turned.items); got > 16 {
			t.Errorf("the list of turns has grown to %d", got)
		}
	})
}

func TestEventOfAClosedDescriptorDoesNotReachItsSuccessor(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, a2 := pair(t)
		b, b2 := pair(t)
		fresh, _ := pair(t)
		successor := &recorder{}
		var reused int
		// Whichever comes first closes the other one, whose number the new
		// socket then takes.
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
		once(t, l)
		if reused == 0 {
			t.Fatal("no handler was called")
		}
		if len(successor.got) != 0 {
			t.Fatalf("the successor got %v", successor.got)
		}
	})
}

func TestWithdrawnInterestHoldsWithinTheBatch(t *testing.T) {
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
		once(t, l)
		if calls != 1 {
			t.Fatalf("%d handlers were called, want the first alone", calls)
		}
	})
}

func TestUnhandledHangUpRemovesTheDescriptor(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		if _, ok := l.poller.(*selectSet); ok {
			t.Skip("select shows a hang-up as PollIn")
		}
		a, b := pair(t)
		h := &recorder{}
		add(t, l, a, 0, h)
		_ = unix.Shutdown(b, unix.SHUT_RDWR)
		turns(t, l, func() bool { return len(h.removed) > 0 })
		var unhandled UnhandledError
		if !errors.As(h.removed[0], &unhandled) || unhandled.Events&PollHup == 0 {
			t.Fatalf("told %v, want HUP unhandled", h.removed[0])
		}
		seen := len(h.got)
		once(t, l)
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
		once(t, l)
		once(t, l)
		if len(h.got) != 2 || len(h.removed) != 0 {
			t.Fatalf("got %v, removed %v; want two events and no removal", h.got, h.removed)
		}
	})
}

func TestClosedDescriptorIsRemoved(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		if isEpoll(l) {
			t.Skip("epoll forgets a closed descriptor by itself")
		}
		a, _ := pair(t)
		c, d := pair(t)
		h, other := &recorder{handled: faults}, &recorder{}
		add(t, l, a, PollIn, h)
		add(t, l, c, PollIn, other)
		same, err := unix.Dup(a)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(same)
		_ = unix.Close(a)
		write(t, d, "x")
		turns(t, l, func() bool { return len(h.removed) > 0 && len(other.got) > 0 })
		if err := unix.Dup2(same, a); err != nil { // so that the clean-up closes what it opened
			t.Fatal(err)
		}
		if got := (UnhandledError{PollNval}); h.removed[0] != got {
			t.Fatalf("told %v, want %v", h.removed[0], got)
		}
	})
}

// TestDataBeforeResetCanBeRead: an error is reported along with what can still
// be read, and a handler that reads first loses nothing.
func TestDataBeforeResetCanBeRead(t *testing.T) {
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
		turns(t, l, func() bool { return !l.registered(server) })
		if string(got) != "last words" || last != unix.ECONNRESET {
			t.Fatalf("read %q and then %v", got, last)
		}
	})
}

// tcpPair returns a TCP connection over loopback. The caller closes the client.
func tcpPair(t *testing.T) (client, server int) {
	ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ln)
	if err := unix.Bind(ln, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(ln, 1); err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(ln)
	if err != nil {
		t.Fatal(err)
	}
	if client, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(client, addr); err != nil {
		t.Fatal(err)
	}
	if server, _, err = unix.Accept(ln); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(server) })
	if err := unix.SetNonblock(server, true); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func TestPanicCostsThatDescriptorAlone(t *testing.T) {
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
		turns(t, l, func() bool { return len(good.got) == 1 && len(bad.got) == 1 })
		var p *PanicError
		if len(bad.removed) != 1 || !errors.As(bad.removed[0], &p) || !errors.Is(p, boom) {
			t.Fatalf("told %v, want the panic", bad.removed)
		}
		if !bytes.Contains(p.Stack, []byte("TestPanicCostsThatDescriptorAlone")) || !strings.Contains(log.String(), "boom") {
			t.Error("the stack is not the handler's, or was not logged")
		}
		write(t, a2, "x")
		write(t, b2, "x")
		once(t, l)
		if len(bad.got) != 1 || len(good.got) != 2 {
			t.Fatalf("afterwards the one got %v, the other %v", bad.got, good.got)
		}
		if s := l.Stats(); s.Panics != 1 {
			t.Errorf("%d panics counted, want 1", s.Panics)
		}
	})
}

func TestPanicInTheTurnToWrite(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, a2 := pair(t)
		h := &recorder{}
		h.do = func(fd int, ev Events) {
			if ev&PollOut != 0 {
				panic("in writing")
			}
			modify(t, l, fd, PollOut)
		}
		add(t, l, a, PollIn, h)
		write(t, a2, "x")
		turns(t, l, func() bool { return len(h.removed) == 1 })
	})
}

// panicky panics once more when it is told of its removal.
type panicky struct{ told int }

func (p *panicky) Ready(int, Events) Events { panic("first") }
func (p *panicky) Removed(int, error)       { p.told++; panic("second") }

func TestPanicOutsideADescriptorCostsNone(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, a2 := pair(t)
		p := &panicky{}
		add(t, l, a, PollIn, p)
		write(t, a2, "x")
		after := 0
		l.After(0, func() { panic("in a timer") })
		l.After(0, func() { after++ })
		l.Post(func() { panic("in a posted function") })
		l.Post(func() { after++ })
		l.Prepare(func() time.Duration { panic("in a prepare step") })
		turns(t, l, func() bool { return after == 2 && p.told == 1 })
		once(t, l)
		if s := l.Stats(); s.Panics != 5 {
			t.Errorf("%d panics counted, want 5", s.Panics)
		}
		ran := false
		l.Post(func() { ran = true })
		turns(t, l, func() bool { return ran })
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
							t.Errorf("goroutine %d: %d ran in place of %d", g, i, ran[g])
						}
						ran[g]++
					}) {
						t.Error("Post reports a closed loop")
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
				t.Errorf("goroutine %d: %d of %d ran", g, n, each)
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
		turns(t, l, func() bool { return len(h.got) > 0 })
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
		l.After(10*time.Millisecond, l.Stop)
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		wg.Wait() // each of them has been told
		if err := l.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestCloseTellsTheHandlersThatAreLeft(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		h, h2 := &recorder{}, &panicky{}
		add(t, l, a, PollIn, h)
		add(t, l, b, PollIn, h2)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if len(h.removed) != 1 || !errors.Is(h.removed[0], ErrClosed) || h2.told != 1 {
			t.Fatalf("told %v and %d, want ErrClosed once each", h.removed, h2.told)
		}
	})
}

func TestIdleLoopDoesNotTurn(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, _ := pair(t)
		add(t, l, a, PollIn, &recorder{})
		ended := make(chan error)
		go func() { ended <- l.Run() }()
		start := make(chan struct{})
		l.Post(func() { close(start) })
		<-start
		before := l.Stats().Turns
		time.Sleep(200 * time.Millisecond) // the time that is looked at, not a guess
		l.Stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		// One wait for the posted function, one for Stop.
		if got := l.counters.own[counterTurns] - before; got > 2 {
			t.Errorf("%d turns while idle", got)
		}
	})
}

// TestSignalsDoNotDisturbAWait: Go sends SIGURG to its own threads, and each
// one interrupts the wait.
func TestSignalsDoNotDisturbAWait(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		// SIGURG reaches the loop's thread by name; no handler of ours.
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGURG)
		defer signal.Stop(c)
		const d = 100 * time.Millisecond
		var took time.Duration
		fired := make(chan struct{})
		tid := make(chan int, 1)
		l.Post(func() {
			tid <- threadID()
			start := time.Now()
			l.After(d, func() { took = time.Since(start); close(fired) })
		})
		go func() {
			id := <-tid
			for {
				select {
				case <-fired:
					l.Stop()
					return
				case <-time.After(time.Millisecond):
					interrupt(id)
				}
			}
		}()
		if err := l.Run(); err != nil {
			t.Fatal(err)
		}
		if took < d || took > d+5*time.Second {
			t.Errorf("a timer of %v took %v", d, took)
		}
	})
}

func TestEdgeTriggeredEvents(t *testing.T) {
	eachPoller(t, func(t *testing.T, l *Loop) {
		a, b := pair(t)
		h := &recorder{}
		err := l.Add(a, PollIn|Edge, h)
		if !isEpoll(l) {
			if !errors.Is(err, ErrEdge) {
				t.Fatalf("Add: %v, want ErrEdge", err)
			}
			add(t, l, a, PollIn, h)
			modify(t, l, a, PollIn|Edge)
			once(t, l)
			if len(h.removed) != 1 || !errors.Is(h.removed[0], ErrEdge) {
				t.Fatalf("Modify: told %v, want ErrEdge", h.removed)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		write(t, b, "x")
		once(t, l)
		once(t, l)
		if len(h.got) != 1 {
			t.Fatalf("got %v, want one event for one change", h.got)
		}
		modify(t, l, a, PollIn|Edge) // the same mask: it arms again
		once(t, l)
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
		t.Skipf("no descriptor as large as FD_SETSIZE can be had: %v", err)
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
				t.Fatalf("%d bytes of answer", n)
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations a request", allocs)
		}
	})
}

func TestCountersArePublishedOnceATurn(t *testing.T) {
	l := newLoop(t, "auto")
	c := l.NewCounters(3)
	c.Add(0, 2)
	c.Max(1, 7)
	c.Max(1, 5)
	c.Set(2, 9)
	c.Set(2, 8)
	if c.Load(0) != 0 {
		t.Error("published before the turn's end")
	}
	once(t, l)
	if c.Load(0) != 2 || c.Load(1) != 7 || c.Load(2) != 8 {
		t.Errorf("got %d %d %d, want 2 7 8", c.Load(0), c.Load(1), c.Load(2))
	}
}

func TestStatsSortRunsByTheirTime(t *testing.T) {
	l := newLoop(t, "auto")
	l.After(0, func() { time.Sleep(3 * time.Millisecond) })
	l.After(0, func() {})
	once(t, l)
	once(t, l)
	s := l.Stats()
	var runs, slow uint64
	for i, r := range s.RunTimes {
		runs += r.Count
		if i > 0 && s.RunTimes[i-1].Max >= 2*time.Millisecond {
			slow += r.Count
		}
	}
	if runs < 2 || slow != 1 || s.Longest < 3*time.Millisecond || s.RunTime < s.Longest {
		t.Errorf("%d runs, %d slow, longest %v, together %v", runs, slow, s.Longest, s.RunTime)
	}
}

func TestEventsHaveTheirNames(t *testing.T) {
	for ev, want := range map[Events]string{0: "0", PollIn | PollHup: "IN|HUP", Edge | PollOut: "OUT|EDGE", PollNval: "NVAL"} {
		if got := ev.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint32(ev), got, want)
		}
	}
}
