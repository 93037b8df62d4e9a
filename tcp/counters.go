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
	counterIdled
	counterStalled
	counterUntrusted
	counterFailed
	counterAnswers // one for each form, and one for errors
	numCounters    = counterAnswers + int(errorForm) + 1
)

// Counters counts what the server of one loop does.
type Counters struct {
	c     *reactor.Counters
	forms []answer.Form // that are told of
}

// NewCounters returns counters that l publishes, of answers of these forms.
func NewCounters(l *reactor.Loop, forms ...answer.Form) *Counters {
	return &Counters{l.NewCounters(numCounters), forms}
}

// Stats is what a server has done, as of its loop's last wait.
type Stats struct {
	Accepted     uint64 // connections
	Open         uint64 // of these, still
	AcceptErrors uint64
	Refused      uint64 // closed as soon as they were accepted: too many, or no descriptor
	Evicted      uint64 // closed because there were too many
	Idle         uint64 // closed because they did not ask
	Stalled      uint64 // closed because they did not read
	Failed       uint64 // reset, or lost
	Untrusted    uint64 // closed because the clock is not good enough to be told
	Answers      [answer.NumForms]uint64
	Errors       uint64 // answers over HTTP that give no time
}

// Stats may be called from any goroutine.
func (c *Counters) Stats() Stats {
	s := Stats{
		Accepted:     c.c.Load(counterAccepted),
		Open:         c.c.Load(counterOpen),
		AcceptErrors: c.c.Load(counterAcceptErrors),
		Refused:      c.c.Load(counterRefused),
		Evicted:      c.c.Load(counterEvicted),
		Idle:         c.c.Load(counterIdled),
		Stalled:      c.c.Load(counterStalled),
		Failed:       c.c.Load(counterFailed),
		Untrusted:    c.c.Load(counterUntrusted),
		Errors:       c.c.Load(counterAnswers + int(errorForm)),
	}
	for i := range s.Answers {
		s.Answers[i] = c.c.Load(counterAnswers + i)
	}
	return s
}

// Each calls f with each figure, as metrics name it. It may be called from any
// goroutine.
func (c *Counters) Each(f func(what, label string, n uint64)) {
	s := c.Stats()
	requests := s.Errors
	for _, form := range c.forms {
		requests += s.Answers[form]
		f("answers", form.String(), s.Answers[form])
	}
	f("answers", "error", s.Errors)
	f("requests", "", requests)
	f("receive_errors", "", s.AcceptErrors)
	f("connections", "", s.Accepted)
	f("connections_open", "", s.Open)
	f("connections_closed", "refused", s.Refused)
	f("connections_closed", "idle", s.Idle)
	f("connections_closed", "evicted", s.Evicted)
	f("connections_closed", "stalled", s.Stalled)
	f("connections_closed", "failed", s.Failed)
	f("connections_closed", "untrusted", s.Untrusted)
}
