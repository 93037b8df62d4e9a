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
	counterOutcomes                                        // one for each outcome of the dialect
	counterVerdicts = counterOutcomes + answer.NumOutcomes // one for each verdict of the guard
	numCounters     = counterVerdicts + guard.NumVerdicts
)

// Counters counts what the servers of one dialect do on one loop.
type Counters struct{ c *reactor.Counters }

// NewCounters returns counters that l publishes.
func NewCounters(l *reactor.Loop) *Counters { return &Counters{l.NewCounters(numCounters)} }

// add adds n to a counter. It is for the loop's goroutine.
func (c *Counters) add(counter int, n uint64) { c.c.Add(counter, n) }

// Stats is what the servers of one dialect have done on one loop, as of the loop's
// last wait. Each request is counted once more, as an answer or a drop.
type Stats struct {
	Requests   uint64                    // datagrams received
	Answers    [answer.NumForms]uint64   // by their form
	Drops      [guard.NumVerdicts]uint64 // by the guard's verdict
	NoRequest  uint64                    // drops of what is no request in the dialect
	Untrusted  uint64                    // drops because the clock is not trusted
	SendErrors uint64                    // drops because the kernel did not take the answer

	ReceiveErrors uint64 // errors in receiving
	Overflows     uint64 // datagrams that the kernel dropped because the receive buffer was full; they are no requests
	Replacements  uint64 // times that a fresh socket sent because a send buffer stayed full
}

// Stats returns the current counts. It may be called from any goroutine.
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
