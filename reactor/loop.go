package reactor

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"
)

// Config configures a Loop. Its zero value is valid.
type Config struct {
	Poller string       // one of Pollers(); "auto" or "" for the best of them
	Logger *slog.Logger // logs recovered panics; nil for slog.Default()

	// Clock is the loop's monotonic clock: the time since some fixed moment. It
	// never goes back. nil is for the host's CLOCK_MONOTONIC, counted from New.
	// The loop calls Clock on its own goroutine.
	//
	// A test can use a clock of its own. The poller still waits in real time, so
	// the test must wake the loop with Post after it has moved the clock.
	Clock func() time.Duration
}

// A Loop waits for the events of many descriptors and calls their handlers,
// one at a time, on the goroutine that is in Run.
//
// Any goroutine may call Post, Stop, Stats, Thread and Counters.Load. All other
// methods are for the loop's goroutine: handlers, timers and posted functions
// may call them, and the caller of Run before Run. Close comes after Run.
type Loop struct {
	poller poller
	log    *slog.Logger

	registrations   []registration // indexed by descriptor
	lastGeneration  uint32
	updates         []int32      // descriptors whose mask in the kernel may be stale
	ready           queue[event] // events of the last wait that are not dispatched yet
	assumedWritable queue[event] // PollOut for handlers that have just added it to their interest

	current       event // the event whose handler is running; its generation is 0 between handlers
	removalReason error // why removeCurrent removes the descriptor of current

	clock     func() time.Duration
	now       time.Duration // when the last wait or the last handler ended; returned by Now
	lastYield time.Duration
	timers    timers
	wake      wake
	stopped   bool         // the current turn is the last one
	thread    atomic.Int32 // returned by Thread

	counters    *Counters   // the loop's own
	allCounters []*Counters // including those of handlers
}

// New returns a Loop without handlers. Add some, call Run, and in the end Close.
// The error is that of an unknown poller, or of a system call.
func New(c Config) (*Loop, error) {
	p, err := openPoller(c.Poller)
	if err != nil {
		return nil, err
	}
	l := &Loop{poller: p, log: c.Logger, clock: c.Clock}
	if l.log == nil {
		l.log = slog.Default()
	}
	if l.clock == nil {
		start := time.Now()
		l.clock = func() time.Duration { return time.Since(start) }
	}
	l.counters = l.NewCounters(numCounters)
	if err := l.wake.open(l); err != nil {
		_ = p.close()
		return nil, err
	}
	return l, nil
}

// Run runs the loop until Stop. It locks its goroutine to one thread, except
// while it yields to Go's scheduler. It returns an error only if the poller's
// system call fails, which is not expected.
func (l *Loop) Run() error {
	l.lockThread()
	defer l.unlockThread()
	for !l.stopped {
		if err := l.turn(); err != nil {
			return fmt.Errorf("event loop: %w", err)
		}
	}
	return nil
}

// turn runs the five steps of the package documentation once.
func (l *Loop) turn() error {
	l.now = l.clock()
	l.timers.beginTurn()
	l.runStep((*Loop).runTimers)
	l.runStep((*Loop).runAssumedWritable)
	l.runStep((*Loop).updateKernelMasks)
	l.publishCounters()
	l.yield()
	if err := l.wait(); err != nil {
		return err
	}
	l.runStep((*Loop).runReady)
	return nil
}

// yieldInterval is how long the loop runs without yielding. Go's scheduler
// preempts a goroutine after 10 ms. The difference is longer than a usual turn
// of the loop.
const yieldInterval = 8 * time.Millisecond

// yield lets other goroutines run, every yieldInterval. Go's scheduler does not
// count a wait in the kernel as a yield. Without this call it would preempt the
// loop with signals, and take its processor away in every wait. The goroutine
// unlocks its thread for the call, because yielding with a locked thread costs
// two thread switches. It usually resumes on the same thread.
//
// A wait of yieldInterval or longer counts as a yield, because the scheduler has
// taken the processor away by then. Yielding after each such wait would keep the
// scheduler's own thread awake for 10 ms. For a loop with a timer that costs ten
// times as much as the timer.
func (l *Loop) yield() {
	if l.now-l.lastYield < yieldInterval {
		return
	}
	l.lastYield = l.now
	l.unlockThread()
	runtime.Gosched()
	l.lockThread()
}

func (l *Loop) lockThread() {
	runtime.LockOSThread()
	l.thread.Store(int32(threadID()))
}

func (l *Loop) unlockThread() {
	l.thread.Store(0)
	runtime.UnlockOSThread()
}

// Thread returns the kernel's id of the thread that calls the handlers:
// gettid(2). It is 0 outside of Run and while the loop yields to Go's scheduler.
// On a system other than Linux it is negative. Any goroutine may call it.
//
// If a posted function does not run although this thread uses CPU time or is
// blocked, a handler does not return.
func (l *Loop) Thread() int { return int(l.thread.Load()) }

// Stop makes Run return after the current turn. Any goroutine may call it, more
// than once.
func (l *Loop) Stop() { l.Post(func() { l.stopped = true }) }

// Close removes all descriptors, calls Removed of their handlers with ErrClosed,
// and releases the poller. Call it after Run has returned, or instead of Run. A
// second call does nothing.
func (l *Loop) Close() error {
	if !l.wake.close() {
		return nil
	}
	for fd := range l.registrations {
		if generation := l.registrations[fd].generation; generation != 0 {
			l.current, l.removalReason = event{fd: int32(fd), generation: generation}, ErrClosed
			l.runStep((*Loop).removeCurrent)
		}
	}
	l.publishCounters()
	return l.poller.close()
}

// Now returns the time on the loop's clock at which the last wait or the last
// handler ended. Inside a handler that is when the handler was called. Now is
// cheaper than reading the clock.
func (l *Loop) Now() time.Duration { return l.now }
