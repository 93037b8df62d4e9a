//go:build linux

package faults_test

import (
	"cmp"
	"slices"
	"testing"
	"time"
)

// An attack is a deliberate fault. Attacks have a table of their own, of which SECURITY.md has a copy.

// attackRounds is the number of times an attack is run against one nowd. Growth is the memory that nowd has after the second
// round and not after the first.
const attackRounds = 2

// withstand runs an attack against nowd for this time in each round, while honest clients ask, and adds a row. With a
// time of 0 the attack ends by itself.
func withstand(t *testing.T, n *nowd, d time.Duration, f fault) (rounds []*observation) {
	t.Helper()
	questions, from := n.questionsOf(f)
	n.warm(t, from, questions)
	limit := cmp.Or(f.memory, maxGrowth)
	left := limit
	for range attackRounds {
		o := observe(t, n, f.name, d, from, questions, left, f)
		rounds = append(rounds, o)
		left = maxGrowth // on a busy machine the first round may not reach the attack's full effect
		if o.memory > limit {
			t.Errorf("%s: nowd and the kernel for its sockets have %d bytes more than before, want at most %d", f.name, o.memory, limit)
		}
		if lost := o.tally.lost.Load(); lost > 0 {
			t.Errorf("%s: %d of %d answers owed are lost", f.name, lost, o.tally.owed.Load())
		}
	}
	for _, o := range together(rounds) {
		f.judge(t, o)
	}
	attackTable.add(newAttackRow(t, f, rounds))
	return rounds
}

// judge checks the outcome of the honest clients of one kind.
func (f fault) judge(t *testing.T, o outcome) {
	t.Helper()
	if o.Wrong != "" {
		t.Errorf("%s: an honest client (%s) got a wrong answer: %s", f.name, o.Kind, o.Wrong)
	}
	share := map[string]float64{"udp": 0.99, "tcp": 1, "new": 1}[o.Kind]
	if f.lossy && o.Kind == "udp" {
		share = 0.25
	}
	share = cmp.Or(f.least[o.Kind], share)
	lost := int((1 - share) * float64(o.Tries))
	if share < 1 {
		lost = max(lost, 1)
	}
	least := o.Tries - lost
	if o.Answered < least || o.Tries == 0 {
		t.Errorf("%s: honest clients (%s) got %d answers of %d, want %d: %s", f.name, o.Kind, o.Answered, o.Tries, least, o.Failure)
	}
}

// together returns the outcome of each kind of honest clients over all rounds.
func together(rounds []*observation) (kinds []outcome) {
	for _, r := range rounds {
		for _, o := range r.outcomes {
			i := slices.IndexFunc(kinds, func(k outcome) bool { return k.Kind == o.Kind && k.Control == o.Control })
			if i < 0 {
				kinds = append(kinds, o)
				continue
			}
			k := &kinds[i]
			k.Tries += o.Tries
			k.Answered += o.Answered
			k.P99, k.Max = max(k.P99, o.P99), max(k.Max, o.Max)
			k.Wrong, k.Failure = cmp.Or(k.Wrong, o.Wrong), cmp.Or(k.Failure, o.Failure)
		}
	}
	return slices.DeleteFunc(kinds, func(k outcome) bool { return k.Control })
}
