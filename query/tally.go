package query

import "time"

// Tally sums up the answers of a host.
type Tally struct {
	Host            *Host
	Asked, Answered int
	Disagreed       int           // how often it was one of those that disagree
	Compared        int           // how many answers could be compared
	Sync            Sync          // what it said when it was asked last
	Shortest        time.Duration // the shortest round trip
	Longest         time.Duration // the longest
	Best            Answer        // the one with the shortest round trip of those that could be compared
	Least, Most     time.Duration // of their offsets
}

// Add adds what came of asking the host once.
func (t *Tally) Add(r Result) {
	t.Asked++
	t.Sync = r.Answer.Sync
	if r.Err != nil {
		return
	}
	a := r.Answer
	if t.Answered == 0 || a.RoundTrip < t.Shortest {
		t.Shortest = a.RoundTrip
	}
	t.Longest = max(t.Longest, a.RoundTrip)
	t.Answered++
	if a.Time.IsZero() {
		return
	}
	if t.Compared == 0 {
		t.Best, t.Least, t.Most = a, a.Offset, a.Offset
	}
	if a.RoundTrip < t.Best.RoundTrip {
		t.Best = a
	}
	t.Least, t.Most = min(t.Least, a.Offset), max(t.Most, a.Offset)
	t.Compared++
}
