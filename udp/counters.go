package udp

import (
	"nowd/answer"
	"nowd/guard"
	"nowd/reactor"
)

const (
	counterRequests = iota
	counterSendErrors
	counterReceiveErrors
	counterOverflows
	counterReplacements
	counterOutcomes                                        // the first of answer.NumOutcomes
	counterVerdicts = counterOutcomes + answer.NumOutcomes // the first of guard.NumVerdicts
	numCounters     = counterVerdicts + guard.NumVerdicts
)

// Counters counts the work of all servers of one dialect on one loop.
type Counters struct{ c *reactor.Counters }

// NewCounters returns counters that l publishes.
func NewCounters(l *reactor.Loop) *Counters { return &Counters{l.NewCounters(numCounters)} }

// add adds n to a counter. Only the loop's goroutine may call it.
func (c *Counters) add(counter int, n uint64) { c.c.Add(counter, n) }

// Stats is a snapshot of the counters, as of the loop's last wait. Each request is also
// counted once as an answer or a drop.
type Stats struct {
	Requests uint64                  // datagrams received
	Answers  [answer.NumForms]uint64 // answers sent, by form

	// Drops: datagrams without an answer, by reason.
	Drops      [guard.NumVerdicts]uint64 // the guard dropped it, by verdict
	NoRequest  uint64                    // it is not a request in this dialect
	Untrusted  uint64                    // the clock is not trusted
	SendErrors uint64                    // the kernel did not accept the answer

	ReceiveErrors uint64 // errors of receive calls
	Overflows     uint64 // datagrams that the kernel dropped because the receive buffer was full; not counted in Requests
	Replacements  uint64 // times that another socket took over sending because a send buffer stayed full
}

// Stats returns a snapshot. It may be called from any goroutine.
func (c *Counters) Stats() Stats {
	load := func(counter int) uint64 { return c.c.Load(counter) }
	s := Stats{
		Requests:      load(counterRequests),
		NoRequest:     load(counterOutcomes + int(answer.NoRequest)),
		Untrusted:     load(counterOutcomes + int(answer.Untrusted)),
		SendErrors:    load(counterSendErrors),
		ReceiveErrors: load(counterReceiveErrors),
		Overflows:     load(counterOverflows),
		Replacements:  load(counterReplacements),
	}
	for f := range s.Answers {
		s.Answers[f] = load(counterOutcomes + int(answer.Answered(answer.Form(f))))
	}
	for v := range s.Drops {
		s.Drops[v] = load(counterVerdicts + v)
	}
	return s
}

// Add adds t to s.
func (s *Stats) Add(t Stats) {
	s.Requests += t.Requests
	for f := range s.Answers {
		s.Answers[f] += t.Answers[f]
	}
	for v := range s.Drops {
		s.Drops[v] += t.Drops[v]
	}
	s.NoRequest += t.NoRequest
	s.Untrusted += t.Untrusted
	s.SendErrors += t.SendErrors
	s.ReceiveErrors += t.ReceiveErrors
	s.Overflows += t.Overflows
	s.Replacements += t.Replacements
}
