package tcp

import (
	"slices"
	"sync"
)

// Sources limits the number of connections per source. The servers of all loops share
// it, because a client's connections are spread over the loops. Servers use it when they
// accept and close a connection, not for a request. It is safe for concurrent use.
type Sources struct {
	limit   int
	mu      sync.Mutex
	open    map[uint64]int       // number of connections, by guard.Source
	waiting map[uint64][]*waiter // connections over the limit, by guard.Source; oldest first
}

// waiter is a connection that waits until its source is below the limit.
type waiter struct {
	source  uint64
	granted func() // called once, when the connection may be served; on any goroutine, with the lock held
}

// NewSources returns a Sources that allows limit connections per source.
func NewSources(limit int) *Sources {
	return &Sources{limit: limit, open: make(map[uint64]int), waiting: make(map[uint64][]*waiter)}
}

// acquire adds one to the connections of source. If source is at the limit, it changes
// nothing and reports false.
func (s *Sources) acquire(source uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[source] >= s.limit {
		return false
	}
	s.open[source]++
	return true
}

// await makes w wait until its source is below the limit, and then counts it and calls
// granted. Waiters are granted in order. If a connection was released since acquire
// failed, w is granted at once. If limit waiters of the source wait already, await
// reports false.
func (s *Sources) await(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.open[w.source] < s.limit:
		s.open[w.source]++
		w.granted()
	case len(s.waiting[w.source]) < s.limit:
		s.waiting[w.source] = append(s.waiting[w.source], w)
	default:
		return false
	}
	return true
}

// withdraw ends the wait of w. It reports false if w was already granted.
func (s *Sources) withdraw(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting[w.source], w)
	if i >= 0 {
		s.removeWaiter(w.source, i)
	}
	return i >= 0
}

// release subtracts one from the connections of source, or grants the oldest waiter in
// its place.
func (s *Sources) release(source uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := s.waiting[source]; len(all) > 0 {
		all[0].granted()
		s.removeWaiter(source, 0)
	} else if s.open[source]--; s.open[source] <= 0 {
		delete(s.open, source)
	}
}

// removeWaiter removes the waiter with index i. The caller holds the lock.
func (s *Sources) removeWaiter(source uint64, i int) {
	if s.waiting[source] = slices.Delete(s.waiting[source], i, i+1); len(s.waiting[source]) == 0 {
		delete(s.waiting, source)
	}
}
