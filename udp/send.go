package udp

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/socket"
)

// send answers the pending datagrams. It returns EAGAIN if the send buffer is full. The
// next call makes the unsent replies again, with the current time.
func (s *Server) send() error {
	for len(s.batch.pending) > 0 {
		n := s.makeReplies()
		sent, err := s.batch.send(s.sendFD(), n)
		for _, o := range s.outcomes[:sent] {
			s.config.Counters.add(counterOutcomes+int(o), 1)
		}
		s.batch.removeFirst(sent)
		switch action := socket.ActionFor(socket.Sending, err); {
		case errors.Is(err, unix.EAGAIN):
			return err
		case action == socket.Reopen:
			s.fail(err)
			return err
		case action != socket.Ignore:
			// The error concerns this reply alone.
			s.batch.removeFirst(1)
			s.config.Counters.add(counterSendErrors, 1)
		}
	}
	return nil
}

// makeReplies makes replies to the first pending datagrams, at most sendBatch, and
// returns their number. All carry the same time. It removes datagrams that get no
// answer.
func (s *Server) makeReplies() (n int) {
	now := s.config.Clock.Now()
	for n < min(len(s.batch.pending), sendBatch) {
		p := s.batch.pending[n]
		b, outcome := s.append(s.batch.replyBuffer(n), p, now)
		if _, ok := outcome.Form(); !ok {
			s.config.Counters.add(counterOutcomes+int(outcome), 1)
			s.batch.removePending(n)
			continue
		}
		s.outcomes[n] = outcome
		s.batch.setReply(n, p.slot, b, s.sender.source)
		n++
	}
	return n
}

// append appends the answer to a pending datagram.
func (s *Server) append(b []byte, p pendingReply, now time.Time) ([]byte, answer.Outcome) {
	req, size := s.batch.request(p.slot)
	if p.kiss {
		return s.kisses.AppendKiss(b, req, size)
	}
	received := s.batch.ancillary[p.slot].received
	if received.IsZero() {
		received = now
	}
	return s.config.Dialect.AppendDatagram(b, req, size, received, now)
}
