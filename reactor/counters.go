package reactor

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Counters are up to 64 numbers that one loop counts and any goroutine may
// read. The loop's goroutine counts with plain additions; what has changed is
// published once a turn, just before the loop waits.
type Counters struct {
	changed   uint64 // a bit for each number that differs from what is published
	own       []uint64
	published []atomic.Uint64
}

// cacheLine keeps what one loop publishes off the lines of another.
const cacheLine = 128

// NewCounters returns n counters, at most 64, that l publishes.
func (l *Loop) NewCounters(n int) *Counters {
	if n > 64 {
		panic("reactor: more than 64 counters")
	}
	const pad = cacheLine / 8
	c := &Counters{
		own:       make([]uint64, n, n+pad),
		published: make([]atomic.Uint64, n, n+pad),
	}
	l.all = append(l.all, c)
	return c
}

// Add adds n to counter i. For the loop's goroutine.
func (c *Counters) Add(i int, n uint64) {
	c.own[i] += n
	c.changed |= 1 << (i & 63)
}

// Set makes n what counter i shows. For the loop's goroutine.
func (c *Counters) Set(i int, n uint64) {
	c.own[i] = n
	c.changed |= 1 << (i & 63)
}

// Max makes n what counter i shows, if that is more. For the loop's goroutine.
func (c *Counters) Max(i int, n uint64) {
	if n > c.own[i] {
		c.Set(i, n)
	}
}

// Own returns counter i as the loop's goroutine sees it.
func (c *Counters) Own(i int) uint64 { return c.own[i] }

// Load returns counter i as of the loop's last wait. For any goroutine.
func (c *Counters) Load(i int) uint64 { return c.published[i].Load() }

func (l *Loop) publish() {
	for _, c := range l.all {
		for c.changed != 0 {
			i := bits.TrailingZeros64(c.changed)
			c.changed &= c.changed - 1
			c.published[i].Store(c.own[i])
		}
	}
}

// The loop's own counters.
const (
	counterTurns = iota
	counterPanics
	counterDropped
	counterLongest
	counterRunNanos
	counterRuns // the first of numRuns
	numCounters = counterRuns + numRuns
)

// Handlers' runs are counted by how long they took: up to firstRun
// nanoseconds, up to twice that, and so on; the last has the rest.
const (
	firstRun = 1 << 12
	numRuns  = 18
)

// Stats is what a loop has done, as of its last wait.
type Stats struct {
	Turns    uint64        // how often it waited
	Panics   uint64        // of handlers, timers and posted functions
	Dropped  uint64        // descriptors that the loop removed by itself
	Longest  time.Duration // the longest run of a handler
	RunTime  time.Duration // of all handlers together
	RunTimes []RunTime     // how many runs took how long
}

// RunTime counts the runs of handlers that took at most so long, and longer
// than the RunTime before it. The last has no upper bound: its Max is 0.
type RunTime struct {
	Max   time.Duration
	Count uint64
}

// Stats may be called from any goroutine.
func (l *Loop) Stats() Stats {
	c := l.counters
	s := Stats{
		Turns:    c.Load(counterTurns),
		Panics:   c.Load(counterPanics),
		Dropped:  c.Load(counterDropped),
		Longest:  time.Duration(c.Load(counterLongest)),
		RunTime:  time.Duration(c.Load(counterRunNanos)),
		RunTimes: make([]RunTime, numRuns),
	}
	for i := range s.RunTimes {
		s.RunTimes[i] = RunTime{Max: firstRun << i, Count: c.Load(counterRuns + i)}
	}
	s.RunTimes[numRuns-1].Max = 0
	return s
}
