package reactor

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// wake lets other goroutines reach the loop. It has a list of posted functions,
// and a descriptor that is readable while the list is not empty. wake is the
// handler of that descriptor.
type wake struct {
	loop            *Loop
	readFD, writeFD int // the same descriptor if it is an eventfd

	mu       sync.Mutex // guards the fields below
	posted   []func()   // not taken by the loop yet
	signaled bool       // the descriptor is readable until Ready reads from it
	closed   bool

	waiting atomic.Bool // posted is not empty; read without the lock

	pending queue[func()] // taken from posted, to be run; for the loop's goroutine only
}

var _ Handler = (*wake)(nil)

// Post runs f on the loop's goroutine, after the functions that were posted
// earlier, as soon as the current handler or timer returns. It does not wait for
// f. Any goroutine may call it, the loop's own as well.
//
// A function that is posted before Stop runs. One that is posted after Stop may
// not. After Close, Post returns false and f does not run.
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

// close closes the descriptor and reports whether it was open. It holds the lock,
// so that no goroutine writes to a closed or reused descriptor.
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

// Ready runs the posted functions. It empties the descriptor before the list: a
// goroutine that posts in between makes the descriptor readable again, so no
// wake-up is lost.
func (w *wake) Ready(fd int, events Events) Events {
	var b [64]byte
	_, _ = unix.Read(fd, b[:])
	w.mu.Lock()
	w.signaled = false
	w.take()
	w.mu.Unlock()
	w.loop.current = event{} // a panic in a posted function must not remove this descriptor
	w.loop.runStep((*Loop).runPosted)
	return events
}

// take moves the posted functions to pending. The caller holds the lock.
func (w *wake) take() {
	w.pending.items, w.posted = w.posted, w.pending.items
	w.waiting.Store(false)
}

// runPostedMeanwhile runs the functions that were posted while a handler ran.
// Functions that they post wait for the end of the next handler. The descriptor
// stays readable: goroutines that post now need not signal, and the next wait
// ends at once.
func (l *Loop) runPostedMeanwhile() {
	w := &l.wake
	w.mu.Lock()
	w.take()
	w.mu.Unlock()
	l.runStep((*Loop).runPosted)
}

// Removed is never called: Ready handles all events, and close removes the
// descriptor.
func (w *wake) Removed(int, error) {}

func (l *Loop) runPosted() {
	w := &l.wake
	for w.pending.len() > 0 {
		w.pending.pop()()
	}
}
