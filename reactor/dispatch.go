package reactor

import (
	"errors"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"
)

// wait fills l.ready. After EINTR it waits again for the rest of the time,
// because Go's scheduler preempts goroutines with signals, every few
// milliseconds.
func (l *Loop) wait() error {
	began := l.now
	for {
		ready, err := l.poller.wait(l.ready.items, l.timeout())
		l.ready.items = ready
		l.now = l.clock()
		if !errors.Is(err, unix.EINTR) {
			l.counters.Add(counterTurns, 1)
			if l.now-began >= yieldInterval {
				l.lastYield = l.now // other goroutines ran meanwhile
			}
			return err
		}
	}
}

// timeout returns how long the loop may wait: a negative time, for ever, if no
// timer is set.
func (l *Loop) timeout() time.Duration {
	if l.assumedWritable.len() != 0 {
		return 0
	}
	if next := l.timers.earliest(); next != nil {
		return max(0, next.when-l.clock())
	}
	return -1
}

// runReady dispatches the events of the last wait. A handler that adds PollOut
// to its interest is called again at once, with PollOut.
func (l *Loop) runReady() {
	for l.ready.len() > 0 {
		ev := l.ready.pop()
		if l.call(ev) {
			l.call(event{ev.fd, ev.generation, PollOut})
		}
		l.endRun()
	}
}

// runAssumedWritable calls the handlers that have added PollOut outside an event
// of their own. Those that are queued meanwhile wait for the next turn, so a
// handler that keeps adding PollOut does not starve the others.
func (l *Loop) runAssumedWritable() {
	for n := l.assumedWritable.len(); n > 0; n-- {
		l.call(l.assumedWritable.pop())
		l.endRun()
	}
}

// call calls the handler of ev with the events that are still in its interest.
// It reports whether the handler has added PollOut to the interest.
func (l *Loop) call(ev event) (addedPollOut bool) {
	r := l.lookup(ev)
	if r == nil {
		return false
	}
	if ev.events &= r.interest | alwaysReported; ev.events == 0 {
		return false
	}
	before := r.interest
	l.current = ev
	handled := r.handler.Ready(int(ev.fd), ev.events)
	if unhandled := ev.events & alwaysReported &^ (handled &^ PollNval); unhandled != 0 {
		l.removalReason = UnhandledError{unhandled}
		l.removeCurrent()
	}
	l.current = event{}
	r = l.lookup(ev)
	return r != nil && r.interest&^before&PollOut != 0
}

// removeCurrent removes the descriptor of l.current, and calls its handler's
// Removed with l.removalReason. It does nothing if the registration has ended.
func (l *Loop) removeCurrent() {
	ev := l.current
	l.current = event{} // a panic in Removed must not count as one in Ready
	r := l.lookup(ev)
	if r == nil {
		return
	}
	h := r.handler
	_ = l.Remove(int(ev.fd))
	l.counters.Add(counterRemoved, 1)
	h.Removed(int(ev.fd), l.removalReason)
}

// runStep runs a step of the loop to its end. After a panic in a handler it
// removes the handler's descriptor. After any panic it runs the step again: a
// step dequeues each item before it runs it, so it resumes with the next one.
func (l *Loop) runStep(step func(*Loop)) {
	for !l.runRecovered(step) {
		l.runRecovered((*Loop).removeCurrent)
	}
}

// runRecovered runs a step and reports whether it completed. It recovers a
// panic, counts it, logs it, and stores it in l.removalReason.
func (l *Loop) runRecovered(step func(*Loop)) (completed bool) {
	defer func() {
		if completed {
			return
		}
		err := &PanicError{Value: recover(), Stack: debug.Stack()}
		l.removalReason = err
		l.counters.Add(counterPanics, 1)
		log := l.log
		if l.current.generation != 0 {
			log = log.With("fd", l.current.fd)
		}
		log.Error("event loop: recovered from a panic", "panic", err.Value, "stack", string(err.Stack))
	}()
	step(l)
	return true
}
