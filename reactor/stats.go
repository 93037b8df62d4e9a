package reactor

import (
	"math/bits"
	"time"
)

// The loop's own counters.
const (
	counterTurns = iota
	counterPanics
	counterRemoved
	counterLongestRun
	counterTotalRunTime // in nanoseconds
	counterRunTimes     // the first of numBuckets
	numCounters         = counterRunTimes + numBuckets
)

// The buckets of the histogram of run times. The upper bound of the first is
// firstBucket. Each next one is twice the one before it. The last bucket has no
// upper bound.
const (
	firstBucket = 1 << bucketShift * time.Nanosecond
	bucketShift = 12
	numBuckets  = 18
)

// Stats counts what a loop has done since New, as of its last wait.
//
// A run is one call of a handler or a timer, or the calls of all functions that
// were posted during the previous wait or run. If a handler adds PollOut to its
// interest, the call with PollOut that follows at once belongs to the same run.
// While a run lasts, everything else on the loop waits.
type Stats struct {
	Turns        uint64          // waits that returned
	Panics       uint64          // recovered in handlers, timers and posted functions
	Removed      uint64          // descriptors removed by the loop, not by their handlers
	LongestRun   time.Duration   // time of the longest run
	TotalRunTime time.Duration   // sum of the times of all runs
	RunTimes     []RunTimeBucket // histogram of the times of all runs, in ascending order
}

// A RunTimeBucket counts the runs that took at most UpperBound, and longer than
// the UpperBound of the bucket before it. The last bucket has no bound: its
// UpperBound is 0.
type RunTimeBucket struct {
	UpperBound time.Duration
	Count      uint64
}

// Stats returns the counts as of the loop's last wait. Any goroutine may call
// it.
func (l *Loop) Stats() Stats {
	c := l.counters
	s := Stats{
		Turns:        c.Load(counterTurns),
		Panics:       c.Load(counterPanics),
		Removed:      c.Load(counterRemoved),
		LongestRun:   time.Duration(c.Load(counterLongestRun)),
		TotalRunTime: time.Duration(c.Load(counterTotalRunTime)),
		RunTimes:     make([]RunTimeBucket, numBuckets),
	}
	for i := range s.RunTimes {
		s.RunTimes[i] = RunTimeBucket{UpperBound: firstBucket << i, Count: c.Load(counterRunTimes + i)}
	}
	s.RunTimes[numBuckets-1].UpperBound = 0
	return s
}

// endRun ends the run of a handler or timer, and runs the functions that were
// posted meanwhile.
func (l *Loop) endRun() {
	l.recordRun()
	if l.wake.waiting.Load() {
		l.runPostedMeanwhile()
		l.recordRun()
	}
}

// recordRun counts a run that began at l.now and ends now.
func (l *Loop) recordRun() {
	end := l.clock()
	took := end - l.now
	l.now = end
	l.counters.Add(counterRunTimes+bucketOf(took), 1)
	l.counters.Add(counterTotalRunTime, uint64(took))
	l.counters.raise(counterLongestRun, uint64(took))
}

// bucketOf returns the index of the bucket that counts a run of this time. It
// subtracts 1 because the upper bounds are inclusive.
func bucketOf(took time.Duration) int {
	return min(bits.Len64(uint64(max(took-1, 0))>>bucketShift), numBuckets-1)
}
