package answer

import (
	"bytes"
	"testing"
	"time"

	"nowd/clock"
)

func TestFormIsTheInverseOfAnswered(t *testing.T) {
	seen := make(map[Outcome]bool)
	for _, o := range []Outcome{NoRequest, Untrusted, HTTPError} {
		if f, ok := o.Form(); ok {
			t.Errorf("outcome %d has the form %v", o, f)
		}
		seen[o] = true
	}
	for f := range numForms {
		o := Answered(f)
		if got, ok := o.Form(); !ok || got != f || seen[o] || int(o) >= NumOutcomes {
			t.Errorf("%v: outcome %d of form %v, %v", f, o, got, ok)
		}
		seen[o] = true
	}
	if len(seen) != NumOutcomes {
		t.Errorf("%d outcomes, want %d", len(seen), NumOutcomes)
	}
}

func TestOutcomeHasAFormIfThereIsAnAnswer(t *testing.T) {
	f := &fake{now: moment, state: clock.State{MaxError: time.Millisecond}}
	untrusted := func(time.Time) bool { return false }
	all := dialects(t, f)
	all["untrusted daytime"], all["untrusted time"] = NewDaytime(time.UTC, untrusted), NewTime(untrusted)
	requests := [][]byte{nil, []byte("hi"), []byte("json"), {0xee, 0, 0, 1}, client(3), client(4), bytes.Repeat([]byte("x"), 48)}
	for name, d := range all {
		for _, req := range requests {
			b, o := d.AppendDatagram(nil, req, len(req), moment, moment)
			if _, ok := o.Form(); ok != (len(b) > 0) || o == HTTPError {
				t.Errorf("%s, %q: outcome %d, %d bytes", name, req, o, len(b))
			}
		}
		if _, o := d.AppendDatagram(nil, nil, 0, moment, moment); (o == Untrusted) != (name == "untrusted daytime" || name == "untrusted time") {
			t.Errorf("%s: outcome %d", name, o)
		}
	}
}
