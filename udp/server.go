// Package udp answers datagrams. A Server serves one socket on one event loop.
//
// A datagram takes this way. When the socket is ready, a batch of datagrams is
// received, and the guard drops those that must not be answered (receive.go). If
// any are left, the handler turns to PollOut; in that turn the clock is read, the
// dialect makes the answers, and they are sent (send.go). When all are sent, the
// handler turns back to PollIn.
package udp

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/clock"
	"nowd/guard"
	"nowd/reactor"
	"nowd/socket"
)

// Dialect makes the answers.
type Dialect interface {
	// AppendDatagram appends the answer to a datagram. req is the beginning of the
	// datagram, size its whole length, received the time at which the kernel
	// received it, and now the time to answer with. If the outcome is no answer,
	// it appends nothing.
	AppendDatagram(b, req []byte, size int, received, now time.Time) ([]byte, answer.Outcome)
}

// KissAppender is a Dialect that can tell a client to ask less often.
type KissAppender interface {
	// AppendKiss appends that answer. It is no longer than the request. If the
	// outcome is no answer, because the datagram is no request, it appends nothing.
	AppendKiss(b, req []byte, size int) ([]byte, answer.Outcome)
}

// Config configures a Server.
type Config struct {
	Clock    *clock.Clock
	Dialect  Dialect
	Guard    *guard.Guard
	Counters *Counters
	// Timestamps has the kernel tell when it received each datagram, where it can.
	// Without, a datagram counts as received when it is answered.
	Timestamps bool
	// Senders is the number of sockets to send from that are opened beforehand, if none
	// can be bound to the port later; 0 if one can. See sender.
	Senders int
}

// Server is the handler of one socket. Its methods belong to the loop's goroutine.
type Server struct {
	config    Config
	loop      *reactor.Loop
	fd        int // -1 once the socket is closed
	onFailure func(why error)
	batch     *batch
	outcomes  [sendBatch]answer.Outcome // of the replies in the batch

	kisses        KissAppender  // the dialect, if it is one; otherwise nil
	lastKiss      time.Duration // on the loop's clock
	receiveErrors int           // in a row
	overflow      overflow
	sender        sender
}

var _ reactor.Handler = (*Server)(nil)

// Serve answers the datagrams that arrive at fd, a non-blocking socket. The server
// owns fd from now on: on an error it is closed. If the socket fails later, the
// server closes it and calls onFailure. Serve is for the loop's goroutine.
func Serve(loop *reactor.Loop, fd int, c Config, onFailure func(why error)) (*Server, error) {
	s := newServer(loop, fd, c, onFailure)
	err := enablePktinfo(fd)
	if err == nil && c.Timestamps {
		err = enableTimestamps(fd)
	}
	if err == nil {
		err = s.openPool(c.Senders)
	}
	if err == nil {
		err = loop.Add(fd, reactor.PollIn, s)
	}
	if err != nil {
		s.closePool()
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

func newServer(loop *reactor.Loop, fd int, c Config, onFailure func(why error)) *Server {
	s := &Server{config: c, loop: loop, fd: fd, onFailure: onFailure, batch: newBatch(), lastKiss: -kissInterval, sender: sender{fd: -1}}
	s.kisses, _ = c.Dialect.(KissAppender)
	return s
}

// Ready receives a batch and turns to PollOut, or sends the replies and turns to
// PollIn. While replies wait for room in the send buffer nothing is received: the
// socket's receive buffer is the queue. If they wait for too long, another socket
// sends them (sender.go).
func (s *Server) Ready(fd int, ev reactor.Events) reactor.Events {
	switch {
	case ev&reactor.PollErr != 0:
		s.receiveFailed(socket.TakeError(fd))
	case ev&reactor.PollIn != 0:
		if s.receive(); len(s.batch.pending) > 0 && s.fd >= 0 {
			_ = s.loop.Modify(fd, reactor.PollOut)
		}
	case ev&reactor.PollOut != 0:
		if s.waiting() {
			// The server's own socket has become writable.
			s.endWait()
			s.closeSender()
		}
		s.sendPending()
	}
	// PollHup means that the socket was shut down. Left unhandled, it has the loop
	// remove the socket.
	return ev &^ reactor.PollHup
}

// sendPending sends the replies and turns to PollIn, or has them wait for room.
func (s *Server) sendPending() {
	err := s.send()
	switch {
	case s.fd < 0: // it failed
	case errors.Is(err, unix.EAGAIN):
		s.awaitRoom(stuckAfter)
	default:
		_ = s.loop.Modify(s.fd, reactor.PollIn)
	}
}

// Removed closes the socket, which the loop has removed.
func (s *Server) Removed(fd int, why error) {
	s.closeSocket()
	if !errors.Is(why, reactor.ErrClosed) {
		s.onFailure(why)
	}
}

// maxCloseBatches is the greatest number of batches that Close receives: all that
// fits into a receive buffer of any usual size, but not a flood without end.
const maxCloseBatches = 4096 / receiveBatch

// Close answers the datagrams that have arrived and closes the socket. If its send
// buffer is full, other sockets send the replies. Replies for which no socket has
// room count as send errors.
func (s *Server) Close() { s.close(maxCloseBatches) }

// close is Close, which receives so many batches at most.
func (s *Server) close(batches int) {
	if s.fd < 0 {
		return
	}
	for n := 0; s.sendAll() && n < batches && s.receive(); n++ {
	}
	if s.fd < 0 { // it failed
		return
	}
	s.countOverflows()
	_ = s.loop.Remove(s.fd)
	s.closeSocket()
}

// sendAll sends the pending replies without waiting for room. It reports whether no
// reply is left.
func (s *Server) sendAll() bool {
	err := s.send()
	for errors.Is(err, unix.EAGAIN) && s.replaceSender() {
		pending := len(s.batch.pending)
		if err = s.send(); len(s.batch.pending) == pending {
			break
		}
	}
	return err == nil
}

// fail removes the socket, which is of no use any more, from the loop and closes
// it.
func (s *Server) fail(why error) {
	if s.fd < 0 {
		return
	}
	_ = s.loop.Remove(s.fd)
	s.Removed(s.fd, why)
}

// closeSocket closes the socket. The pending replies are lost: they are counted as
// send errors.
func (s *Server) closeSocket() {
	s.endWait()
	s.closeSender()
	s.closePool()
	_ = unix.Close(s.fd)
	s.fd = -1
	s.config.Counters.add(counterSendErrors, uint64(len(s.batch.pending)))
	s.batch.removeFirst(len(s.batch.pending))
}
