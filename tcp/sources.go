package tcp

import (
	"slices"
	"sync"
)

// Sources limits the connections of each source. The servers of all loops share it,
// because a client's connections are spread over them. It is used when a connection
// is accepted and closed, not for a request. It is safe for concurrent use.
type Sources struct {
	limit   int
	mu      sync.Mutex
	open    map[uint64]int       // connections by guard.Source
	waiting map[uint64][]*waiter // connections over the limit, likewise; the oldest first
}

// waiter is a connection that waits for the place of another of its source.
type waiter struct {
	source  uint64
	granted func() // called once, when the connection gets the place; on any goroutine, under the lock
}

// NewSources returns a Sources that allows each source limit connections.
func NewSources(limit int) *Sources {
	return &Sources{limit: limit, open: make(map[uint64]int), waiting: make(map[uint64][]*waiter)}
}

// acquire counts one more connection of source, and reports false if it would be
// over the limit.
func (s *Sources) acquire(source uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[source] >= s.limit {
		return false
	}
	s.open[source]++
	return true
}

// await gives w a place of its source as soon as one is released, at once if that was
// since acquire failed; earlier waiters come first. It reports false if as many wait
// already as a source may have connections.
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

// withdraw ends the wait of w. It reports false if w was granted a place.
func (s *Sources) withdraw(w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.waiting[w.source], w)
	if i >= 0 {
		s.removeWaiter(w.source, i)
	}
	return i >= 0
}

// release counts one connection of source less, or gives its place to one that
// waits.
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
