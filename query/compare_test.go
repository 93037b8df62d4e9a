package query

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"nowd/clock"
)

// answering returns a result with the interval from low to high.
func answering(low, high time.Duration) Result {
	return Result{&Host{Name: "a"}, Answer{Reading: Reading{Time: moment}, Offset: low + (high-low)/2, Error: (high - low) / 2}, nil}
}

func TestHostsThatCannotBeRightAreNamed(t *testing.T) {
	silent := Result{Host: &Host{Name: "silent"}, Err: errors.New("no answer")}
	timeless := Result{Host: &Host{Name: "timeless"}, Answer: Answer{Text: "noon"}}
	for name, c := range map[string]struct {
		results  []Result
		disagree []int
		majority bool
	}{
		"all overlap":           {[]Result{answering(0, 4), answering(2, 6), answering(4, 8)}, nil, true},
		"one does not":          {[]Result{answering(0, 4), answering(20, 24), answering(2, 6)}, []int{1}, true},
		"two of five do not":    {[]Result{answering(0, 4), answering(20, 24), answering(2, 6), answering(-20, -10), answering(4, 8)}, []int{1, 3}, true},
		"two differ":            {[]Result{answering(0, 4), answering(6, 8)}, []int{0, 1}, false},
		"two of four":           {[]Result{answering(0, 4), answering(2, 6), answering(20, 24), answering(22, 26)}, []int{0, 1, 2, 3}, false},
		"three all differ":      {[]Result{answering(0, 4), answering(10, 14), answering(20, 24)}, []int{0, 1, 2}, false},
		"one bridges two":       {[]Result{answering(0, 4), answering(2, 8), answering(6, 10)}, []int{0, 2}, false},
		"they touch":            {[]Result{answering(0, 4), answering(4, 8)}, nil, true},
		"the same":              {[]Result{answering(0, 4), answering(0, 4)}, nil, true},
		"one within another":    {[]Result{answering(0, 100), answering(10, 12), answering(90, 92)}, []int{1, 2}, false},
		"silence is no vote":    {[]Result{silent, answering(0, 4), answering(2, 6), timeless, answering(20, 24)}, []int{4}, true},
		"one alone":             {[]Result{answering(0, 4), silent, timeless}, nil, true},
		"none":                  {[]Result{silent, timeless}, nil, false},
		"wide ones do not name": {[]Result{answering(-1000, 1000), answering(-1000, 1000), answering(900, 902)}, nil, true},
	} {
		for range 10 {
			order := rand.Perm(len(c.results))
			var results []Result
			var want []int
			for i, from := range order {
				results = append(results, c.results[from])
				if slices.Contains(c.disagree, from) {
					want = append(want, i)
				}
			}
			v := Compare(results)
			if !slices.Equal(v.Disagree, want) || v.HasMajority != c.majority || v.Agree() != (c.disagree == nil) {
				t.Errorf("%s, in the order %v: %+v, want %v", name, order, v, want)
			}
			if len(v.NoAnswer)+len(v.NotComparable)+compared(results, v) != len(results) {
				t.Errorf("%s: %+v", name, v)
			}
		}
	}
}

func TestBoundWidensTheInterval(t *testing.T) {
	a := Answer{Reading: Reading{Time: moment, HasBound: true, Bound: 100}, Offset: 1000, Error: 10}
	if got, ok := a.Interval(); !ok || got != (clock.Interval{Low: 890, High: 1110}) {
		t.Errorf("%v %v", got, ok)
	}
	a.HasBound = false
	if got, ok := a.Interval(); !ok || got != (clock.Interval{Low: 990, High: 1010}) {
		t.Errorf("%v %v", got, ok)
	}
}

// The hosts agree if and only if all intervals contain a common moment. With a majority, the
// hosts that do not disagree are the most whose intervals contain a common moment.
func TestVerdictIsRightOfAnyIntervals(t *testing.T) {
	for range 10_000 {
		var results []Result
		for range 1 + rand.IntN(6) {
			low := time.Duration(rand.IntN(40)) * 2
			results = append(results, answering(low, low+2*time.Duration(rand.IntN(15))))
		}
		v := Compare(results)
		most := 0
		for at := time.Duration(0); at <= 120; at++ {
			holding := 0
			for _, r := range results {
				if i, _ := r.Answer.Interval(); i.Low <= at && at <= i.High {
					holding++
				}
			}
			most = max(most, holding)
		}
		if v.Agree() != (most == len(results)) {
			t.Fatalf("%v: at most %d of %d intervals contain a common moment", v, most, len(results))
		}
		if v.HasMajority && len(results)-len(v.Disagree) != most {
			t.Fatalf("%v: at most %d of %d intervals contain a common moment", v, most, len(results))
		}
	}
}

func TestTallySumsUp(t *testing.T) {
	tally := &tally{Host: &Host{Name: "a"}}
	for _, r := range []Result{
		{Err: errors.New("no answer")},
		{Answer: Answer{Text: "noon", RoundTrip: 1}},
		{Answer: Answer{Reading: Reading{Time: moment, Sync: Synced}, RoundTrip: 20, Offset: 5, Error: 10}},
		{Answer: Answer{Reading: Reading{Time: moment}, RoundTrip: 10, Offset: -5, Error: 5}},
		{Answer: Answer{Reading: Reading{Time: moment, Sync: Unsynced}, RoundTrip: 30, Offset: 0, Error: 15}},
	} {
		tally.add(r)
	}
	if tally.Asked != 5 || tally.Answered != 4 || tally.Compared != 3 || tally.MinRoundTrip != 1 || tally.MaxRoundTrip != 30 ||
		tally.Best.RoundTrip != 10 || tally.MinOffset != -5 || tally.MaxOffset != 5 || tally.Sync != Unsynced {
		t.Errorf("%+v", tally)
	}
	if tally.add(Result{Err: errors.New("no answer")}); tally.Sync != SyncUnknown {
		t.Error("a host that did not answer counts as synced or unsynced")
	}
}
