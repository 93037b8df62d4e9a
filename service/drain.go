package service

import (
	"time"

	"nowd/socket"
)

// drain has all loops give the answers that they owe, and returns when they
// have, or after NOWD_SHUTDOWN_TIMEOUT.
func (s *Service) drain() {
	if s.driver != nil {
		s.workers[0].loop.Post(s.driver.stop)
	}
	drained := make(chan struct{}, len(s.workers))
	for i, w := range s.workers {
		d := &drain{pending: 1, done: func() { drained <- struct{}{} }}
		w.loop.Post(func() { d.begin(s.endpoints, i, w) })
	}
	timeout := time.NewTimer(s.config.ShutdownTimeout)
	defer timeout.Stop()
	for range s.workers {
		select {
		case <-drained:
		case <-timeout.C:
			s.log.Warn("some clients did not take their answers in time")
			return
		}
	}
}

// drain is the end of one loop's service. It belongs to the loop's goroutine.
type drain struct {
	pending int    // servers that still owe answers, and one until all have been asked
	done    func() // called when none is left
}

// begin has the loop's servers answer what has arrived. UDP does so at once; TCP
// calls back when the last client has taken its answers.
func (d *drain) begin(endpoints []*endpoint, place int, w *worker) {
	for _, e := range endpoints {
		if e.protocol.Network == socket.UDP && e.places[place].close != nil {
			e.places[place].close()
			e.places[place].close = nil
		}
	}
	for _, s := range w.servers {
		if c, ok := s.(connections); ok {
			d.pending++
			c.server.Shutdown(d.finished)
		}
	}
	d.finished()
}

// finished takes note that one server owes nothing any more.
func (d *drain) finished() {
	if d.pending--; d.pending == 0 {
		d.done()
	}
}
