package service

import (
	"time"

	"nowd/socket"
)

// drain drains all loops: their servers send the answers that they owe. It returns when
// all have, or after NOWD_SHUTDOWN_TIMEOUT.
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
			s.log.Warn("some clients did not read their answers within NOWD_SHUTDOWN_TIMEOUT")
			return
		}
	}
}

// drain is the drain of one loop. Only the loop's goroutine uses it.
type drain struct {
	pending int    // servers that still owe answers; plus 1 while begin runs
	done    func() // called when pending reaches 0
}

// begin drains the loop's servers. UDP sockets answer what has arrived and close, within
// the call. TCP servers call finished when the last client has read its answers.
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

// finished is called when one server owes no answer any more.
func (d *drain) finished() {
	if d.pending--; d.pending == 0 {
		d.done()
	}
}
