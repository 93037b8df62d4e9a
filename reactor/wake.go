package reactor

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// wake is how other goroutines reach the loop: a list of posted functions, and a
// descriptor that is readable while the list is not empty. It is the handler of
// that descriptor.
type wake struct {
	loop            *Loop
	readFD, writeFD int // the same descriptor if it is an eventfd

	mu       sync.Mutex // guards the fields below
	posted   []func()   // since the loop last emptied the list
	signaled bool       // the descriptor is readable, and stays so until Ready empties it
	closed   bool

	waiting atomic.Bool // posted is not empty; read without the lock

	pending queue[func()] // moved from posted, to be run; belongs to the loop's goroutine
}

var _ Handler = (*wake)(nil)

// Post runs f on the loop's goroutine, after the functions that were posted
// earlier, and as soon as the handler that is running returns. It may be called
// from any goroutine, including the loop's own, and does not wait for f. After
// Close it reports false, and f does not run. A function that is posted before
// Stop runs. One that is posted after Stop may not.
func (l *Loop) Post(f func()) bool {
	w := &l.wake
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.posted = append(w.posted, f)
	w.waiting.Store(true)
	if !w.signaled {
		w.signaled = true
		w.signal()
	}
	return true
}

func (w *wake) open(l *Loop) (err error) {
	w.loop = l
	if w.readFD, w.writeFD, err = openWake(); err != nil {
		return err
	}
	if err := l.Add(w.readFD, PollIn, w); err != nil {
		w.closeFDs()
		return err
	}
	return nil
}

// close holds the lock, so that no goroutine writes to a descriptor that is
// closed, or reused since. It reports false if wake was closed already.
func (w *wake) close() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.closed, w.posted = true, nil
	w.waiting.Store(false)
	_ = w.loop.Remove(w.readFD)
	w.closeFDs()
	return true
}

func (w *wake) closeFDs() {
	_ = unix.Close(w.readFD)
	if w.writeFD != w.readFD {
		_ = unix.Close(w.writeFD)
	}
}

// Ready empties the descriptor before the list. A goroutine that posts in
// between makes the descriptor readable again, so no wake-up is lost.
func (w *wake) Ready(fd int, events Events) Events {
	var b [64]byte
	_, _ = unix.Read(fd, b[:])
	w.mu.Lock()
	w.signaled = false
	w.take()
	w.mu.Unlock()
	w.loop.current = event{} // so that a panic in a posted function does not remove this descriptor
	w.loop.runStep((*Loop).runPosted)
	return events
}

// take moves the posted functions to pending. The caller holds the lock.
func (w *wake) take() {
	w.pending.items, w.posted = w.posted, w.pending.items
	w.waiting.Store(false)
}

// runPostedMeanwhile runs the functions that were posted while a handler ran.
// Those that they post themselves have to wait for the next handler to end. It
// leaves the descriptor readable: a goroutine that posts now does not signal
// again, and the loop's next wait ends at once.
func (l *Loop) runPostedMeanwhile() {
	w := &l.wake
	w.mu.Lock()
	w.take()
	w.mu.Unlock()
	l.runStep((*Loop).runPosted)
}

// Removed is never called: Ready handles all events, and close removes the
// descriptor itself.
func (w *wake) Removed(int, error) {}

func (l *Loop) runPosted() {
	w := &l.wake
	for w.pending.len() > 0 {
		w.pending.pop()()
	}
}
