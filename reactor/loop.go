package reactor

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// Config says how to build a Loop; its zero value will do.
type Config struct {
	Poller string       // one of Pollers(), or "auto" or "" for the best of them
	Logger *slog.Logger // for panics and removed descriptors; slog.Default() if nil
}

// A Loop waits for the events of many descriptors and calls their handlers,
// one at a time, on the goroutine that is in Run.
//
// Post and Stop may be called from any goroutine. Everything else belongs to
// the loop's goroutine: call it from handlers, timers and posted functions,
// or before Run.
type Loop struct {
	poller poller
	log    *slog.Logger
	start  time.Time // time 0 of the loop's clock

	regs    []registration // by descriptor
	lastTag uint32
	changed []int32      // descriptors whose mask may differ from what the kernel was told
	ready   queue[event] // what the last wait found
	turned  queue[event] // handlers that turned to PollOut and had no turn yet
	running event        // whose handler runs; its tag is 0 when none does
	fault   error        // why it is to be removed

	now     time.Duration // as of the last wait, or of the last handler's end
	yielded time.Duration // when yield was last to some effect
	timers  timers
	wake    wake
	done    bool // set by Stop: the turn that is under way is the last

	counters *Counters
	all      []*Counters
}

// registration is what the loop knows of one descriptor.
type registration struct {
	handler Handler
	want    Events // the mask that the handler asked for
	told    Events // the mask that the kernel has
	tag     uint32 // this registration's own, so that events of an earlier one are known; 0 for none
	changed bool   // whether the descriptor is in Loop.changed
}

// New returns a loop that is ready to be filled with handlers and Run. Close
// gives back what it holds.
func New(c Config) (*Loop, error) {
	p, err := openPoller(c.Poller)
	if err != nil {
		return nil, err
	}
	l := &Loop{poller: p, log: c.Logger, start: time.Now()}
	if l.log == nil {
		l.log = slog.Default()
	}
	l.counters = l.NewCounters(numCounters)
	if err := l.wake.open(l); err != nil {
		_ = p.close()
		return nil, err
	}
	return l, nil
}

// Run runs the loop until Stop. It keeps its goroutine on one thread, but for
// the moments in which it yields. The error is the poller's, which is not
// expected to fail.
func (l *Loop) Run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for !l.done {
		if err := l.turn(); err != nil {
			return fmt.Errorf("event loop: %w", err)
		}
	}
	return nil
}

// turn is one turn of the loop: do what is due, wait, call the handlers of
// what became ready.
func (l *Loop) turn() error {
	l.now = l.clock()
	l.timers.mark()
	l.safely((*Loop).runTimers)
	l.safely((*Loop).runTurned)
	l.safely((*Loop).tellKernel)
	l.publish()
	l.yield()
	if err := l.wait(); err != nil {
		return err
	}
	l.safely((*Loop).runReady)
	return nil
}

// yieldEvery is below the 10 ms after which Go's scheduler takes a goroutine for
// one that does not yield, by more than a turn of the loop takes.
const yieldEvery = 8 * time.Millisecond

// yield tells Go's scheduler now and then that the loop has had its turn. Waits
// in the kernel do not count as yielding; without this it would try to preempt
// the loop all the time, by signals and by taking its processor away in every
// wait. The goroutine leaves its thread for that moment, since giving way with
// a thread of its own takes two switches of threads; as a rule it comes back to
// the same one.
func (l *Loop) yield() {
	if l.now-l.yielded < yieldEvery {
		return
	}
	l.yielded = l.now
	runtime.UnlockOSThread()
	runtime.Gosched()
	runtime.LockOSThread()
}

// Stop ends Run after the turn that is under way. It may be called from any
// goroutine, and more than once.
func (l *Loop) Stop() { l.Post(func() { l.done = true }) }

// Close tells the handlers that are left ErrClosed, and gives back what the
// loop holds. Call it when Run has returned, or instead of Run. A second call
// does nothing.
func (l *Loop) Close() error {
	if !l.wake.close() {
		return nil
	}
	for fd := range l.regs {
		if l.regs[fd].tag != 0 {
			l.running, l.fault = event{fd: int32(fd), tag: l.regs[fd].tag}, ErrClosed
			l.safely((*Loop).dropRunning)
		}
	}
	l.publish()
	return l.poller.close()
}

// Now returns the time on the loop's monotonic clock when the event that is
// being handled was taken up.
func (l *Loop) Now() time.Duration { return l.now }

func (l *Loop) clock() time.Duration { return time.Since(l.start) }

// Add registers fd, which should be in non-blocking mode, with a handler for
// the events in mask. An empty mask is a valid one. The errors are
// ErrRegistered, ErrEdge, and what the poller says of a descriptor that it
// cannot watch.
func (l *Loop) Add(fd int, mask Events, h Handler) error {
	if fd < 0 {
		return fmt.Errorf("add descriptor %d: %w", fd, unix.EBADF)
	}
	if l.registered(fd) {
		return fmt.Errorf("add descriptor %d: %w", fd, ErrRegistered)
	}
	for fd >= len(l.regs) {
		l.regs = append(l.regs, registration{})
	}
	l.lastTag++
	if l.lastTag == 0 { // after 2^32 of them
		l.lastTag = 1
	}
	if err := l.poller.add(fd, mask, l.lastTag); err != nil {
		return fmt.Errorf("add descriptor %d: %w", fd, err)
	}
	l.regs[fd] = registration{handler: h, want: mask, told: mask, tag: l.lastTag, changed: l.regs[fd].changed}
	if mask&PollOut != 0 {
		l.turned.push(event{fd: int32(fd), tag: l.lastTag, events: PollOut})
	}
	return nil
}

// Modify replaces fd's mask. A handler that has just turned to PollOut is
// called with it without waiting for the kernel: one that does so while it
// handles an event, as soon as it returns, before any other handler; otherwise
// before the loop waits. And the kernel is told, just before the next wait,
// only if its mask still differs by then. So a handler that reads a request,
// turns to PollOut, writes the answer and turns back to PollIn costs no system
// call for that. With Edge the kernel is always told, for that arms it again.
//
// The only error is ErrNotRegistered: a mask that the poller refuses shows as
// the handler's removal.
func (l *Loop) Modify(fd int, mask Events) error {
	if !l.registered(fd) {
		return fmt.Errorf("modify descriptor %d: %w", fd, ErrNotRegistered)
	}
	r := &l.regs[fd]
	if mask&^r.want&PollOut != 0 && r.tag != l.running.tag { // call sees to the one that runs
		l.turned.push(event{fd: int32(fd), tag: r.tag, events: PollOut})
	}
	r.want = mask
	if !r.changed {
		r.changed = true
		l.changed = append(l.changed, int32(fd))
	}
	return nil
}

// Remove ends fd's registration. Call it before closing fd. Events that were
// under way do not arrive any more. The only error is ErrNotRegistered.
func (l *Loop) Remove(fd int) error {
	if !l.registered(fd) {
		return fmt.Errorf("remove descriptor %d: %w", fd, ErrNotRegistered)
	}
	r := &l.regs[fd]
	r.handler, r.tag = nil, 0
	// The poller's error would be that fd is gone already, which is what was
	// asked for.
	_ = l.poller.remove(fd)
	return nil
}

func (l *Loop) registered(fd int) bool {
	return uint(fd) < uint(len(l.regs)) && l.regs[fd].tag != 0
}

// find returns the registration that ev was meant for, or nil if that has
// ended, even if its descriptor has been registered anew.
func (l *Loop) find(ev event) *registration {
	if r := &l.regs[ev.fd]; r.tag == ev.tag && ev.tag != 0 {
		return r
	}
	return nil
}

// wait fills l.ready. A signal only makes it wait again, for what is left of
// the time: Go's own preemption sends one every few milliseconds.
func (l *Loop) wait() error {
	for {
		ready, err := l.poller.wait(l.ready.items, l.timeout())
		l.ready.items = ready
		l.now = l.clock()
		if !errors.Is(err, unix.EINTR) {
			l.counters.Add(counterTurns, 1)
			return err
		}
	}
}

// timeout is how long the loop may wait: for ever, if nothing is due.
func (l *Loop) timeout() time.Duration {
	if l.turned.len() != 0 || l.done {
		return 0
	}
	if next := l.timers.next(); next != nil {
		return max(0, next.when-l.clock())
	}
	return -1
}

// runReady calls the handlers of what the last wait found, and gives each that
// turns to PollOut its turn to write.
func (l *Loop) runReady() {
	for l.ready.len() > 0 {
		ev := l.ready.pop()
		if l.call(ev) {
			l.call(event{ev.fd, ev.tag, PollOut})
		}
		l.account()
	}
}

// runTurned gives their turn to the handlers that turned to PollOut otherwise.
func (l *Loop) runTurned() {
	for n := l.turned.len(); n > 0; n-- {
		l.call(l.turned.pop())
		l.account()
	}
}

// call calls the handler that ev is for, with those of the events that it
// still asks for, and reports whether it has turned to PollOut.
func (l *Loop) call(ev event) (turned bool) {
	r := l.find(ev)
	if r == nil {
		return false
	}
	if ev.events &= r.want | faults; ev.events == 0 {
		return false
	}
	before := r.want
	l.running = ev
	handled := r.handler.Ready(int(ev.fd), ev.events)
	if left := ev.events & faults &^ (handled &^ PollNval); left != 0 {
		l.fault = UnhandledError{left}
		l.dropRunning()
	}
	l.running = event{}
	r = l.find(ev)
	return r != nil && r.want&^before&PollOut != 0
}

// account takes the time of the handler that has run, its turn to write
// included: it is what every other one had to wait.
func (l *Loop) account() {
	end := l.clock()
	took := end - l.now
	l.now = end
	l.counters.Add(counterRuns+min(bits.Len64(uint64(took)/firstRun), numRuns-1), 1)
	l.counters.Add(counterRunNanos, uint64(took))
	l.counters.Max(counterLongest, uint64(took))
}

// dropRunning removes the descriptor whose handler runs, if it is registered
// still, and tells the handler why.
func (l *Loop) dropRunning() {
	ev := l.running
	l.running = event{} // a panic in Removed is not the descriptor's any more
	r := l.find(ev)
	if r == nil {
		return
	}
	h := r.handler
	_ = l.Remove(int(ev.fd))
	l.counters.Add(counterDropped, 1)
	h.Removed(int(ev.fd), l.fault)
}

// tellKernel makes the kernel's masks those that the handlers ask for.
func (l *Loop) tellKernel() {
	for len(l.changed) > 0 {
		fd := int(l.changed[len(l.changed)-1])
		l.changed = l.changed[:len(l.changed)-1]
		r := &l.regs[fd]
		r.changed = false
		if r.tag == 0 || (r.want == r.told && r.want&Edge == 0) {
			continue
		}
		r.told = r.want
		if err := l.poller.modify(fd, r.want, r.tag); err != nil {
			l.running, l.fault = event{fd: int32(fd), tag: r.tag}, err
			l.dropRunning()
		}
	}
}

// safely runs a step of the loop to its end. A step takes what it is about to
// do off its list first; so after a panic, which costs the descriptor whose
// handler ran, it goes on behind that.
func (l *Loop) safely(step func(*Loop)) {
	for !l.try(step) {
		l.try((*Loop).dropRunning)
	}
}

func (l *Loop) try(step func(*Loop)) (ok bool) {
	defer func() {
		if ok {
			return
		}
		err := &PanicError{Value: recover(), Stack: debug.Stack()}
		l.fault = err
		l.counters.Add(counterPanics, 1)
		l.log.Error("event loop: a handler panicked", "fd", l.running.fd, "panic", err.Value, "stack", string(err.Stack))
	}()
	step(l)
	return true
}
