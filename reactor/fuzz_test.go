package reactor

import (
	"bytes"
	"cmp"
	"slices"
	"testing"
	"time"
)

// FuzzTimers sets, resets and stops timers as a script says. It compares the
// calls and their order with those of a plain list. The clock moves only by the
// script.
func FuzzTimers(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 250, 251, 252, 253, 254, 255})
	f.Add([]byte("every after every stop reset and so on, and on, and on"))
	f.Add([]byte{0x10, 0x20, 0x30, 0xc0, 0x11, 0x40, 0x12, 0xc1, 0x80, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, script []byte) {
		now := time.Duration(0)
		l := &Loop{counters: &Counters{}, clock: func() time.Duration { return now }}
		l.counters = l.NewCounters(numCounters)
		const count = 8
		var all [count]*Timer
		var called, want []int
		type entry struct {
			timer int
			when  time.Duration
		}
		var plain []entry // in the order of being set
		stop := func(i int) (was bool) {
			n := len(plain)
			plain = slices.DeleteFunc(plain, func(e entry) bool { return e.timer == i })
			return len(plain) < n
		}
		for i := range all {
			all[i] = &Timer{loop: l, index: -1, f: func() { called = append(called, i) }}
		}
		for _, op := range script {
			i, arg := int(op%count), time.Duration(op>>3&7)*time.Hour
			switch op >> 6 {
			case 0, 1: // set or reset; an arg of 0 is due at once
				stop(i)
				all[i].Stop()
				l.timers.schedule(all[i], now+arg)
				plain = append(plain, entry{i, now + arg})
			case 2:
				if got, was := all[i].Stop(), stop(i); got != was {
					t.Fatalf("timer %d was set: %v, not %v", i, got, was)
				}
			case 3:
				now += arg
				l.now = now
				l.timers.beginTurn()
				due := slices.Clone(plain)
				slices.SortStableFunc(due, func(a, b entry) int { return cmp.Compare(a.when, b.when) })
				for _, e := range due {
					if e.when <= now {
						want = append(want, e.timer)
						stop(e.timer)
					}
				}
				l.runTimers()
				if !slices.Equal(called, want) {
					t.Fatalf("called %v, want %v", called, want)
				}
			}
			if got := l.timers.earliest(); (got == nil) != (len(plain) == 0) {
				t.Fatalf("the earliest of %d timers is %v", len(plain), got)
			}
		}
	})
}

// FuzzQueue checks a queue against a slice.
func FuzzQueue(f *testing.F) {
	f.Add([]byte{1, 2, 0, 3, 0, 0, 4, 5, 6, 7, 0, 8, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{1, 2, 0, 3, 0, 5}, 20))
	f.Fuzz(func(t *testing.T, script []byte) {
		var q queue[byte]
		var plain []byte
		most := 0
		for _, op := range script {
			if op%4 > 0 {
				q.push(op)
				plain = append(plain, op)
			} else if len(plain) > 0 {
				if got := q.pop(); got != plain[0] {
					t.Fatalf("%d, want %d", got, plain[0])
				}
				plain = plain[1:]
			}
			if most = max(most, len(plain)); q.len() != len(plain) || cap(q.items) > 8+4*most {
				t.Fatalf("%d items, capacity %d; want %d items, at most %d so far", q.len(), cap(q.items), len(plain), most)
			}
		}
	})
}
