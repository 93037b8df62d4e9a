package reactor

import (
	"container/heap"
	"time"
)

// A Timer calls a function once or periodically, on the loop's goroutine, by the
// loop's monotonic clock. It never fires early. Only the loop's goroutine may
// call its methods.
type Timer struct {
	loop   *Loop
	f      func()
	when   time.Duration // due time on the loop's clock
	period time.Duration // 0 if it fires once
	seq    uint64        // orders timers with the same due time; see timers.lastInTurn
	index  int           // in the heap; -1 if the timer is not set
}

// After calls f once, after d has passed. With a d of zero or less, the loop
// calls f before it next blocks. A timer that is set while timers run waits for
// the next turn, so that the handlers of ready descriptors run first.
func (l *Loop) After(d time.Duration, f func()) *Timer {
	t := &Timer{loop: l, f: f, index: -1}
	t.Reset(d)
	return t
}

// Every calls f once per period. The due times are whole periods after the call
// of Every, however late f is called. If the loop misses a whole period, it skips
// that call. Every panics if the period is not positive.
func (l *Loop) Every(period time.Duration, f func()) *Timer {
	if period <= 0 {
		panic("reactor: the period is not positive")
	}
	t := l.After(period, f)
	t.period = period
	return t
}

// Prepare calls step before the loop next blocks. If step returns a positive
// delay, the loop calls it again after that delay; if it returns 0, not any more.
// Stopping the returned timer ends the retries.
//
// Prepare is for what a handler needs first: for example an address to listen
// on that is not available yet.
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

// Reset makes t due d from now, whether t was set or not.
func (t *Timer) Reset(d time.Duration) {
	t.Stop()
	t.loop.timers.schedule(t, t.loop.clock()+max(0, d))
}

// Stop cancels t and reports whether it was set.
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

// beginTurn makes timers that are set from now on wait for the next turn, so
// that a zero timer that sets itself again does not starve descriptors.
func (ts *timers) beginTurn() { ts.lastInTurn = ts.lastSeq }

// earliest returns the timer with the earliest due time, or nil if none is set.
func (ts *timers) earliest() *Timer {
	if len(ts.heap) == 0 {
		return nil
	}
	return ts.heap[0]
}

// runTimers calls the timers that are due. It can stop at the first one that was
// set in this turn: that one is not due before the start of the turn, so all
// timers that were due then are ahead of it in the heap.
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
