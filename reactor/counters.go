package reactor

import (
	"math/bits"
	"sync/atomic"
)

// Counters are up to 64 numbers that one loop changes and any goroutine may
// read. The loop changes them with plain stores, and publishes the changed ones
// once a turn, just before it waits.
type Counters struct {
	changed   uint64 // a bit for each counter that is not published yet
	current   []uint64
	published []atomic.Uint64
}

// cacheLine is the padding after the counters of one loop, in bytes, so that no
// two loops write to the same cache line.
const cacheLine = 128

// NewCounters returns n counters that l publishes. It panics if n is above 64.
func (l *Loop) NewCounters(n int) *Counters {
	if n > 64 {
		panic("reactor: more than 64 counters")
	}
	const pad = cacheLine / 8
	c := &Counters{
		current:   make([]uint64, n, n+pad),
		published: make([]atomic.Uint64, n, n+pad),
	}
	l.allCounters = append(l.allCounters, c)
	return c
}

// Add adds n to counter i. Only the loop's goroutine may call it.
func (c *Counters) Add(i int, n uint64) {
	c.current[i] += n
	c.changed |= 1 << (i & 63)
}

// Set sets counter i to n. Only the loop's goroutine may call it.
func (c *Counters) Set(i int, n uint64) {
	c.current[i] = n
	c.changed |= 1 << (i & 63)
}

// Current returns the current value of counter i. Only the loop's goroutine may
// call it.
func (c *Counters) Current(i int) uint64 { return c.current[i] }

// Load returns the value of counter i as of the loop's last wait. Any goroutine
// may call it.
func (c *Counters) Load(i int) uint64 { return c.published[i].Load() }

// raise sets counter i to n if n is greater.
func (c *Counters) raise(i int, n uint64) {
	if n > c.current[i] {
		c.Set(i, n)
	}
}

func (l *Loop) publishCounters() {
	for _, c := range l.allCounters {
		for c.changed != 0 {
			i := bits.TrailingZeros64(c.changed)
			c.changed &= c.changed - 1
			c.published[i].Store(c.current[i])
		}
	}
}
