package reactor

import (
	"sync"

	"golang.org/x/sys/unix"
)

// wake is how other goroutines reach the loop: a list of functions, and a
// descriptor that becomes readable when there are any.
type wake struct {
	mu       sync.Mutex
	posted   []func()
	signaled bool // the descriptor was written to since posted was taken last
	closed   bool
	loop     *Loop
	rfd, wfd int // the same for an eventfd

	taken queue[func()] // those that the loop is running; its goroutine's own
}

// Post runs f on the loop's goroutine, after what was posted before. It may be
// called from any goroutine, the loop's own too; it does not wait for f. It
// reports false, and f will not run, once the loop is closed. What was posted
// before Stop is run; what is posted after it may not be.
func (l *Loop) Post(f func()) bool {
	w := &l.wake
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.posted = append(w.posted, f)
	if !w.signaled {
		w.signaled = true
		w.signal()
	}
	return true
}

func (w *wake) open(l *Loop) (err error) {
	w.loop = l
	if w.rfd, w.wfd, err = openWake(); err != nil {
		return err
	}
	if err := l.Add(w.rfd, PollIn, w); err != nil {
		w.closeFDs()
		return err
	}
	return nil
}

// close holds the lock, so that no one signals a descriptor that is closed, or
// is another's by then. It reports false if it has been called before.
func (w *wake) close() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.closed, w.posted = true, nil
	_ = w.loop.Remove(w.rfd)
	w.closeFDs()
	return true
}

func (w *wake) closeFDs() {
	_ = unix.Close(w.rfd)
	if w.wfd != w.rfd {
		_ = unix.Close(w.wfd)
	}
}

// Ready empties the descriptor before it takes the list: who posts in between
// signals again, and no wake-up is lost.
func (w *wake) Ready(fd int, events Events) Events {
	var b [64]byte
	_, _ = unix.Read(fd, b[:])
	w.mu.Lock()
	w.taken.items, w.posted = w.posted, w.taken.items
	w.signaled = false
	w.mu.Unlock()
	w.loop.running = event{} // a panic in a posted function must not cost the wake-up
	w.loop.safely((*Loop).runPosted)
	return events
}

// Removed is never called for what the loop adds and removes itself.
func (w *wake) Removed(int, error) {}

func (l *Loop) runPosted() {
	w := &l.wake
	for w.taken.len() > 0 {
		w.taken.pop()()
	}
}
