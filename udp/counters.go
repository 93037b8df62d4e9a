package udp

import (
	"nowd/answer"
	"nowd/guard"
	"nowd/reactor"
)

const (
	counterRequests = iota
	counterReceiveErrors
	counterSendErrors
	counterOverflows
	counterAnswers                                         // one for each form
	counterDrops   = counterAnswers + int(answer.NumForms) // one for each verdict
	numCounters    = counterDrops + int(guard.NumVerdicts)
)

// Counters counts what the servers of one dialect do on one loop.
type Counters struct {
	c     *reactor.Counters
	forms []answer.Form // that are told of
}

// NewCounters returns counters that l publishes, of answers of these forms.
func NewCounters(l *reactor.Loop, forms ...answer.Form) *Counters {
	return &Counters{l.NewCounters(numCounters), forms}
}

// Stats is what the servers of one dialect have done on one loop, as of its
// last wait. Each request becomes an answer, or a drop for one reason.
type Stats struct {
	Requests      uint64
	Answers       [answer.NumForms]uint64
	Drops         [guard.NumVerdicts]uint64
	SendErrors    uint64 // the drops of answers that the kernel did not take
	ReceiveErrors uint64
	Overflows     uint64 // datagrams that found the receive buffer full; they are no requests
}

// Stats may be called from any goroutine.
func (c *Counters) Stats() Stats {
	s := Stats{
		Requests:      c.c.Load(counterRequests),
		SendErrors:    c.c.Load(counterSendErrors),
		ReceiveErrors: c.c.Load(counterReceiveErrors),
		Overflows:     c.c.Load(counterOverflows),
	}
	for i := range s.Answers {
		s.Answers[i] = c.c.Load(counterAnswers + i)
	}
	for i := range s.Drops {
		s.Drops[i] = c.c.Load(counterDrops + i)
	}
	return s
}

// Each calls f with each figure, as metrics name it. It may be called from any
// goroutine.
func (c *Counters) Each(f func(what, label string, n uint64)) {
	s := c.Stats()
	f("requests", "", s.Requests)
	for _, form := range c.forms {
		f("answers", form.String(), s.Answers[form])
	}
	for v := guard.Pass + 1; v < guard.NumVerdicts; v++ {
		f("drops", v.String(), s.Drops[v])
	}
	f("drops", "send_error", s.SendErrors)
	f("receive_errors", "", s.ReceiveErrors)
	f("receive_overflows", "", s.Overflows)
}
