package reactor

import (
	"container/heap"
	"time"
)

// A Timer calls a function once or periodically, on its loop's goroutine, by
// the loop's monotonic clock. It is never early. Only the loop's goroutine may
// call its methods.
type Timer struct {
	loop   *Loop
	f      func()
	when   time.Duration // due time on the loop's clock
	period time.Duration // 0 if it fires once
	seq    uint64        // orders timers with the same due time; see timers.lastInTurn
	index  int           // in the heap; -1 if the timer is not set
}

// After calls f once, after d has passed. The loop runs all timers that are due
// before it waits, including those with a d of zero or less. A timer that is
// set while timers run is left for the next turn, after the descriptors that
// are ready.
func (l *Loop) After(d time.Duration, f func()) *Timer {
	t := &Timer{loop: l, f: f, index: -1}
	t.Reset(d)
	return t
}

// Every calls f each time another period has passed. Due times are multiples of
// the period from the call of Every, however late f is called. If a whole
// period is missed, its call is skipped, not made up for. Every panics if the
// period is not positive.
func (l *Loop) Every(period time.Duration, f func()) *Timer {
	if period <= 0 {
		panic("reactor: a period that is not positive")
	}
	t := l.After(period, f)
	t.period = period
	return t
}

// Prepare runs step before the loop next waits. If step returns a positive
// delay, it is run again after that delay. If it returns 0, it is ready and is
// not run any more. Prepare is for a precondition of a handler: an address to
// listen at, for example, that may not be available yet. Stopping the returned
// timer ends the retries.
func (l *Loop) Prepare(step func() (delay time.Duration)) *Timer {
	t := &Timer{loop: l, index: -1}
	t.f = func() {
		if delay := step(); delay > 0 {
			t.Reset(delay)
		}
	}
	t.Reset(0)
	return t
}

// Reset makes t due after d has passed from now, whether t was set or not.
func (t *Timer) Reset(d time.Duration) {
	t.Stop()
	t.loop.timers.schedule(t, t.loop.clock()+max(0, d))
}

// Stop keeps t from calling its function. It reports whether t was set.
func (t *Timer) Stop() bool {
	if t.index < 0 {
		return false
	}
	heap.Remove(&t.loop.timers.heap, t.index)
	return true
}

// timers are the timers that are set, in a heap with the earliest at its root.
type timers struct {
	heap       timerHeap
	lastSeq    uint64 // the seq of the timer that was set last
	lastInTurn uint64 // the highest seq that may run in the current turn
}

func (ts *timers) schedule(t *Timer, when time.Duration) {
	ts.lastSeq++
	t.when, t.seq = when, ts.lastSeq
	heap.Push(&ts.heap, t)
}

// beginTurn leaves the timers that are set from now on for the next turn, so
// that a zero timer that sets itself again does not starve descriptors.
func (ts *timers) beginTurn() { ts.lastInTurn = ts.lastSeq }

// earliest returns the timer with the earliest due time, or nil if none is set.
func (ts *timers) earliest() *Timer {
	if len(ts.heap) == 0 {
		return nil
	}
	return ts.heap[0]
}

// runTimers calls the timers that are due. It may end at the first one that was
// set in this turn: its due time is not before the turn's start, so all that
// were due then are ahead of it in the heap.
func (l *Loop) runTimers() {
	for t := l.timers.earliest(); t != nil && t.when <= l.now && t.seq <= l.timers.lastInTurn; t = l.timers.earliest() {
		heap.Pop(&l.timers.heap)
		if t.period > 0 {
			missed := (l.now - t.when) / t.period
			l.timers.schedule(t, t.when+(missed+1)*t.period)
		}
		t.f()
		l.endRun()
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
