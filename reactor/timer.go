package reactor

import (
	"container/heap"
	"time"
)

// A Timer calls a function once or periodically, on its loop's goroutine, by
// the monotonic clock. It is never early. Its methods belong to the loop's
// goroutine.
type Timer struct {
	loop   *Loop
	call   func()
	when   time.Duration // on the loop's clock
	period time.Duration // 0 for once
	seq    uint64        // orders timers that are due at the same time, and tells the new ones
	index  int           // in the heap, or -1
}

// After calls f once, when d has passed. What is due is called before the next
// wait, a timer of zero or less too; but a timer that was set by another one
// that has just run comes after the descriptors that are ready.
func (l *Loop) After(d time.Duration, f func()) *Timer {
	t := &Timer{loop: l, call: f, index: -1}
	t.Reset(d)
	return t
}

// Every calls f each time another period has passed. The times are multiples
// of the period, however late f is called; those that are missed altogether
// are left out, not made up for. It panics if the period is not positive.
func (l *Loop) Every(period time.Duration, f func()) *Timer {
	if period <= 0 {
		panic("reactor: a period that is not positive")
	}
	t := l.After(period, f)
	t.period = period
	return t
}

// Prepare runs step before the loop next waits, and then again whenever as much
// time has passed as step asks for, until it returns 0: it is ready, and is not
// run any more. It is for what has to be there before a handler can be
// registered, say an address to listen at. The timer returned can end it
// earlier.
func (l *Loop) Prepare(step func() (again time.Duration)) *Timer {
	t := &Timer{loop: l, index: -1}
	t.call = func() {
		if again := step(); again > 0 {
			t.Reset(again)
		}
	}
	t.Reset(0)
	return t
}

// Reset makes t due when d has passed from now, whether it was due or not.
func (t *Timer) Reset(d time.Duration) {
	t.Stop()
	t.loop.timers.set(t, t.loop.clock()+max(0, d))
}

// Stop keeps t from calling its function, and reports whether it was due.
func (t *Timer) Stop() bool {
	if t.index < 0 {
		return false
	}
	heap.Remove(&t.loop.timers.heap, t.index)
	return true
}

// timers holds what is due, the earliest at the root of a heap.
type timers struct {
	heap timerHeap
	seq  uint64 // of the timer set last
	old  uint64 // the last seq that may run in this turn
}

func (ts *timers) set(t *Timer, when time.Duration) {
	ts.seq++
	t.when, t.seq = when, ts.seq
	heap.Push(&ts.heap, t)
}

// mark starts a turn: a timer that is set from now on is left for the next one,
// so that a zero timer that sets itself again keeps no descriptor from its
// turn.
func (ts *timers) mark() { ts.old = ts.seq }

// next returns the timer that is due first, or nil.
func (ts *timers) next() *Timer {
	if len(ts.heap) == 0 {
		return nil
	}
	return ts.heap[0]
}

// runTimers calls what is due. The heap is ordered by time and then by age, so
// a timer that is too new for this turn has none behind it that is not.
func (l *Loop) runTimers() {
	for t := l.timers.next(); t != nil && t.when <= l.now && t.seq <= l.timers.old; t = l.timers.next() {
		heap.Pop(&l.timers.heap)
		if t.period > 0 {
			missed := (l.now - t.when) / t.period
			l.timers.set(t, t.when+(missed+1)*t.period)
		}
		t.call()
		l.account()
	}
}

type timerHeap []*Timer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	if h[i].when != h[j].when {
		return h[i].when < h[j].when
	}
	return h[i].seq < h[j].seq
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}
