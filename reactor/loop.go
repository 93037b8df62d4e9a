package reactor

import (
	"fmt"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"
)

// Config says how to build a Loop. Its zero value is valid.
type Config struct {
	Poller string       // one of Pollers(); "auto" or "" picks the best of them
	Logger *slog.Logger // logs recovered panics; nil means slog.Default()

	// Clock is the loop's monotonic clock: the time since some fixed moment. It
	// never goes back. If nil, it is the host's CLOCK_MONOTONIC, starting at 0.
	// A test can set a clock of its own and move it. The poller still waits in
	// real time for as long as that clock says, so the test wakes the loop with
	// Post after it has moved the clock. The loop calls Clock on its goroutine.
	Clock func() time.Duration
}

// A Loop waits for the events of many descriptors and calls their handlers,
// one at a time, on the goroutine that is in Run.
//
// Post, Stop, Stats, Thread and Counters.Load may be called from any goroutine. Every
// other method belongs to the loop's goroutine: call it from handlers, timers
// and posted functions, or before Run.
type Loop struct {
	poller poller
	log    *slog.Logger

	registrations   []registration // indexed by descriptor
	lastGeneration  uint32
	updates         []int32      // descriptors whose mask in the kernel may be out of date
	ready           queue[event] // events of the last wait that are still to be dispatched
	assumedWritable queue[event] // handlers that have just added PollOut to their interest

	current       event // the event whose handler is being called; its generation is 0 between handlers
	removalReason error // why removeCurrent removes the descriptor of current

	clock     func() time.Duration
	now       time.Duration // when the last wait or the last handler ended
	lastYield time.Duration
	timers    timers
	wake      wake
	stopped   bool         // the current turn is the last one
	thread    atomic.Int32 // returned by Thread

	counters    *Counters   // the loop's own
	allCounters []*Counters // including those of handlers
}

// New returns a loop without handlers. Add some, then call Run, and Close in
// the end.
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
// while it yields to Go's scheduler. An error is one of the poller's system
// call, and is not expected.
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

// turn does what is due, waits, and calls the handlers of what became ready.
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

// yieldInterval is shorter than the 10 ms after which Go's scheduler preempts a
// goroutine. The difference is longer than a usual turn of the loop.
const yieldInterval = 8 * time.Millisecond

// yield gives way to other goroutines every yieldInterval. Go's scheduler does
// not see a wait in the kernel as yielding. Without this call it would preempt
// the loop with signals, and take its processor away in every wait. The
// goroutine unlocks its thread for the call, because yielding with a locked
// thread costs two thread switches. It usually resumes on the same thread.
//
// A wait that lasts yieldInterval counts as a yield: the scheduler has taken the
// processor away by then. To yield after each such wait would keep the scheduler's
// own thread awake for 10 ms, which costs a loop with a timer ten times what the
// timer does.
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

// Thread returns the kernel's id of the thread that calls the handlers. It is 0
// while there is none: outside of Run, and while the loop yields to Go's
// scheduler. It is negative on a system other than Linux. Any goroutine may call
// it.
//
// A posted function that does not run while the thread uses CPU time, or is
// blocked, tells that a handler does not end.
func (l *Loop) Thread() int { return int(l.thread.Load()) }

// Stop ends Run after the current turn. It may be called from any goroutine,
// and more than once.
func (l *Loop) Stop() { l.Post(func() { l.stopped = true }) }

// Close removes all descriptors, tells their handlers ErrClosed, and releases
// the poller. Call it after Run has returned, or instead of Run. A second call
// does nothing.
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

// Now returns the time on the loop's clock when the last wait or the last
// handler ended. Inside a handler that is when the handler was called. Now
// costs less than reading the clock.
func (l *Loop) Now() time.Duration { return l.now }
