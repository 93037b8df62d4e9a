//go:build linux

package clockbound

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestReadersNeverSeeATornSnapshot uses a segment in Go's heap, where the race
// detector sees each access.
func TestReadersNeverSeeATornSnapshot(t *testing.T) {
	m := new(memory)
	m.store(numberedSegment(1), nil)
	c := new(Client) // the same for all readers
	if err := c.snapshot(m, new(segment)); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var readers, writer sync.WaitGroup
	writer.Go(func() {
		for n := uint64(2); !stop.Load(); n++ {
			m.store(numberedSegment(n), nil)
		}
	})
	var reads atomic.Uint64
	for range 4 {
		readers.Go(func() {
			for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); reads.Add(1) {
				before := m[markerWord].Load()
				var s segment
				if err := c.snapshot(m, &s); err != nil {
					t.Error(err)
					return
				}
				if m[markerWord].Load()-before > 65536/3/2 {
					continue // the generation may have wrapped meanwhile
				}
				if got := s.snapshot(); got != numbered(got.Marker) {
					t.Errorf("torn: %+v", got)
					return
				}
			}
		})
	}
	readers.Wait()
	stop.Store(true)
	writer.Wait()
	t.Logf("%d reads of %d updates", reads.Load(), m[markerWord].Load())
}

func numberedSegment(n uint64) segment {
	s := numbered(n)
	return s.segment()
}
