package tcp

import "sync"

// Sources limits the connections of each source. The servers of all loops share it,
// because a client's connections are spread over them. It is used when a connection
// is accepted and closed, not for a request. It is safe for concurrent use.
type Sources struct {
	limit int
	mu    sync.Mutex
	open  map[uint64]int // connections by guard.Source
}

// NewSources returns a Sources that allows each source limit connections.
func NewSources(limit int) *Sources { return &Sources{limit: limit, open: make(map[uint64]int)} }

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

// release counts one connection of source less.
func (s *Sources) release(source uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[source]--; s.open[source] <= 0 {
		delete(s.open, source)
	}
}
