package tcp

import "sync"

// Sources counts the connections of each source, so that none has more than it
// may. The servers of all loops share it, for a client's connections are spread
// over them; it is asked when a connection is opened or closed, not for a
// request. It is safe for use from many goroutines.
type Sources struct {
	most int
	mu   sync.Mutex
	open map[uint64]int // by guard.Source
}

// NewSources returns a Sources that lets each source have most connections.
func NewSources(most int) *Sources { return &Sources{most: most, open: make(map[uint64]int)} }

// take reports whether source may have one more connection, and counts it then.
func (s *Sources) take(source uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[source] >= s.most {
		return false
	}
	s.open[source]++
	return true
}

// give takes note that a connection is closed.
func (s *Sources) give(source uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[source]--; s.open[source] <= 0 {
		delete(s.open, source)
	}
}
