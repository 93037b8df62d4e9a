package query

import "time"

// tally sums up the results of one host.
type tally struct {
	Host                       *Host
	Asked, Answered            int
	Compared                   int  // answers that could be compared
	Disagreed                  int  // rounds in which the host disagreed
	Sync                       Sync // of the last result
	MinRoundTrip, MaxRoundTrip time.Duration
	MinOffset, MaxOffset       time.Duration // of the answers that could be compared
	Best                       Answer        // of these, the one with the shortest round trip
}

// add adds one result.
func (t *tally) add(r Result) {
	t.Asked++
	t.Sync = r.Answer.Sync
	if r.Err != nil {
		return
	}
	a := r.Answer
	if t.Answered == 0 || a.RoundTrip < t.MinRoundTrip {
		t.MinRoundTrip = a.RoundTrip
	}
	t.MaxRoundTrip = max(t.MaxRoundTrip, a.RoundTrip)
	t.Answered++
	if a.Time.IsZero() {
		return
	}
	if t.Compared == 0 {
		t.Best, t.MinOffset, t.MaxOffset = a, a.Offset, a.Offset
	}
	if a.RoundTrip < t.Best.RoundTrip {
		t.Best = a
	}
	t.MinOffset, t.MaxOffset = min(t.MinOffset, a.Offset), max(t.MaxOffset, a.Offset)
	t.Compared++
}
