package udp

import (
	"time"

	"nowd/guard"
	"nowd/socket"
)

const (
	// kissInterval is the minimum time between two kisses, whatever their destinations.
	kissInterval = time.Second

	// maxReceiveErrors is the number of consecutive errors after which a socket counts
	// as failed: the error may be permanent.
	maxReceiveErrors = 100
)

// receive receives one batch and reports whether it contains a datagram. The guard
// judges each datagram; those to answer become pending. The caller must have sent all
// pending replies before, since receive reuses their slots.
func (s *Server) receive() bool {
	n, err := s.batch.receive(s.fd)
	if err != nil {
		s.receiveFailed(err)
		return false
	}
	s.receiveErrors = 0
	s.config.Counters.add(counterRequests, uint64(n))
	bytes := 0
	pending := s.batch.queue[:0]
	for slot := range n {
		req, size := s.batch.request(slot)
		bytes += size
		v := s.config.Guard.Judge(s.batch.source(slot), s.batch.ancillary[slot].multicast, req, s.loop.Now())
		switch {
		case v == guard.Pass:
			pending = append(pending, pendingReply{slot: slot})
		case v == guard.RateLimit && s.mayKiss():
			s.lastKiss = s.loop.Now()
			pending = append(pending, pendingReply{slot: slot, kiss: true})
		default:
			s.config.Counters.add(counterVerdicts+int(v), 1)
		}
	}
	s.batch.pending = pending
	s.watchOverflow(n, bytes)
	return true
}

// mayKiss reports whether a kiss may be sent now. Like an answer, a kiss counts towards
// the total rate limit of all sources.
func (s *Server) mayKiss() bool {
	now := s.loop.Now()
	return s.kisses != nil && now-s.lastKiss >= kissInterval && s.config.Guard.AllowTotal(now)
}

// receiveFailed handles an error of a receive call.
func (s *Server) receiveFailed(err error) {
	switch socket.ActionFor(socket.Receiving, err) {
	case socket.Ignore:
		return
	case socket.Reopen:
		s.receiveErrors = maxReceiveErrors
	default:
		s.receiveErrors++
	}
	s.config.Counters.add(counterReceiveErrors, 1)
	if s.receiveErrors >= maxReceiveErrors {
		s.fail(err)
	}
}
