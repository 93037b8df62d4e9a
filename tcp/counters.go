package tcp

import (
	"nowd/answer"
	"nowd/reactor"
)

const (
	counterAccepted = iota
	counterOpen
	counterAcceptErrors
	counterRefused
	counterEvicted
	counterIdle
	counterStalled
	counterOverBudget
	counterFailed
	counterOutcomes // the first of answer.NumOutcomes
	numCounters     = counterOutcomes + answer.NumOutcomes
)

// Counters counts the work of the server of one loop.
type Counters struct{ c *reactor.Counters }

// NewCounters returns counters that l publishes.
func NewCounters(l *reactor.Loop) *Counters { return &Counters{l.NewCounters(numCounters)} }

// add adds 1 to a counter. Only the loop's goroutine may call it.
func (c *Counters) add(counter int) { c.c.Add(counter, 1) }

// addOutcome counts the outcome of a request. Only the loop's goroutine may call it.
func (c *Counters) addOutcome(o answer.Outcome) { c.add(counterOutcomes + int(o)) }

// Stats is a snapshot of the counters, as of the loop's last wait.
type Stats struct {
	Accepted     uint64                  // connections accepted
	Open         uint64                  // connections open now
	Answers      [answer.NumForms]uint64 // answers sent, by form
	HTTPErrors   uint64                  // HTTP answers without a time
	AcceptErrors uint64                  // errors of accept(2)

	// Connections that the server closed, by reason.
	Refused    uint64 // at once: over a limit, or no descriptor
	Evicted    uint64 // at the connection cap, for a descriptor, or because too many were lingering
	Idle       uint64 // the client sent no request for IdleTimeout
	Stalled    uint64 // the client acknowledged nothing for WriteTimeout
	OverBudget uint64 // reset: the server was over its memory budget
	Failed     uint64 // the client reset it, or the socket had another error
	Untrusted  uint64 // the clock is not trusted
}

// Stats returns a snapshot. It may be called from any goroutine.
func (c *Counters) Stats() Stats {
	load := func(counter int) uint64 { return c.c.Load(counter) }
	s := Stats{
		Accepted:     load(counterAccepted),
		Open:         load(counterOpen),
		HTTPErrors:   load(counterOutcomes + int(answer.HTTPError)),
		AcceptErrors: load(counterAcceptErrors),
		Refused:      load(counterRefused),
		Evicted:      load(counterEvicted),
		Idle:         load(counterIdle),
		Stalled:      load(counterStalled),
		OverBudget:   load(counterOverBudget),
		Failed:       load(counterFailed),
		Untrusted:    load(counterOutcomes + int(answer.Untrusted)),
	}
	for f := range s.Answers {
		s.Answers[f] = load(counterOutcomes + int(answer.Answered(answer.Form(f))))
	}
	return s
}

// Add adds t to s.
func (s *Stats) Add(t Stats) {
	s.Accepted += t.Accepted
	s.Open += t.Open
	for f := range s.Answers {
		s.Answers[f] += t.Answers[f]
	}
	s.HTTPErrors += t.HTTPErrors
	s.AcceptErrors += t.AcceptErrors
	s.Refused += t.Refused
	s.Evicted += t.Evicted
	s.Idle += t.Idle
	s.Stalled += t.Stalled
	s.OverBudget += t.OverBudget
	s.Failed += t.Failed
	s.Untrusted += t.Untrusted
}
