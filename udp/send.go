package udp

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/socket"
)

// send answers the pending datagrams, each with its own reading of the clock just before
// it is sent. It returns EAGAIN if the send buffer is full. The next call makes the unsent
// reply again, with the current time.
func (s *Server) send() error {
	for len(s.batch.pending) > 0 {
		p := s.batch.pending[0]
		data, outcome := s.append(s.batch.buffer[:0], p, s.config.Clock.Now())
		if _, ok := outcome.Form(); ok {
			err := s.batch.send(s.sendFD(), p.slot, data, s.sender.source)
			switch action := socket.ActionFor(socket.Sending, err); {
			case err == nil:
			case errors.Is(err, unix.EAGAIN):
				return err
			case action == socket.Ignore:
				continue
			case action == socket.Reopen:
				s.fail(err)
				return err
			default: // the error concerns this reply alone
				s.batch.pending = s.batch.pending[1:]
				s.config.Counters.add(counterSendErrors, 1)
				continue
			}
		}
		s.batch.pending = s.batch.pending[1:]
		s.config.Counters.add(counterOutcomes+int(outcome), 1)
	}
	return nil
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
