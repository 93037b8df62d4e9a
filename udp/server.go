// Package udp answers datagrams. A Server serves one socket on one event loop.
//
// How a datagram is handled: when the socket is readable, the server receives a batch
// of datagrams, and the guard drops those that must not be answered (receive.go). If any
// remain, the server changes its interest to PollOut. The loop calls the server again. The
// server reads the clock, the dialect makes the answers, and the server sends them
// (send.go). When all are sent, the server changes its interest back to PollIn.
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

// Dialect makes the answers to requests.
type Dialect interface {
	// AppendDatagram appends the answer to a datagram to b. req is the beginning of the
	// datagram, at most MaxRequest bytes; size is its full length; received is when the
	// kernel received it; now is the time to answer with. The answer has at most
	// answer.MaxText bytes. If the outcome is not an answer, AppendDatagram appends
	// nothing.
	AppendDatagram(b, req []byte, size int, received, now time.Time) ([]byte, answer.Outcome)
}

// KissAppender is implemented by a Dialect that has a kiss, an answer that tells a client
// over the rate limit to ask less often: NTP's kiss-o'-death (RFC 5905, section 7.4).
type KissAppender interface {
	// AppendKiss appends a kiss to b. The parameters are those of AppendDatagram. The
	// kiss is not longer than the request. If the datagram is not a request, AppendKiss
	// appends nothing.
	AppendKiss(b, req []byte, size int) ([]byte, answer.Outcome)
}

// Config configures a Server.
type Config struct {
	Clock    *clock.Clock
	Dialect  Dialect
	Guard    *guard.Guard
	Counters *Counters
	// Timestamps enables the kernel's receive timestamps, if the system has them.
	// Without a timestamp, a datagram's receive time is that of its answer.
	Timestamps bool
	// Senders is the number of spare sockets to open at start, for a process that cannot
	// bind to its port later. A spare socket sends while the send buffer of the server's
	// own stays full (sender.go). If Senders is 0, the server opens them on demand.
	Senders int
}

// Server is the handler of one socket. Only the loop's goroutine may call its methods.
type Server struct {
	config    Config
	loop      *reactor.Loop
	fd        int // -1 once the socket is closed
	onFailure func(why error)
	batch     *batch

	kisses        KissAppender  // the dialect, if it is a KissAppender; otherwise nil
	lastKiss      time.Duration // on the loop's clock
	receiveErrors int           // consecutive
	overflow      overflow
	sender        sender
}

var _ reactor.Handler = (*Server)(nil)

// Serve answers the datagrams that arrive at fd, a non-blocking socket. It takes
// ownership of fd and closes it on error. If the socket fails later, the server closes
// it and calls onFailure. Only the loop's goroutine may call Serve.
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

// Ready receives a batch and changes the interest to PollOut, or sends the replies and
// changes it back to PollIn. While the send buffer is full, it receives nothing:
// requests queue in the receive buffer. If the send buffer stays full, another socket
// sends (sender.go).
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
			// The server's own socket is writable again.
			s.endWait()
			s.closeSender()
		}
		s.sendPending()
	}
	// PollHup means that the socket was shut down. It is left unhandled, so that the
	// loop removes the socket.
	return ev &^ reactor.PollHup
}

// sendPending sends the replies and changes the interest to PollIn. If the send buffer
// is full, the replies wait.
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

// Removed closes the socket after the loop has removed it.
func (s *Server) Removed(fd int, why error) {
	s.closeSocket()
	if !errors.Is(why, reactor.ErrClosed) {
		s.onFailure(why)
	}
}

// maxCloseBatches is the maximum number of batches that Close receives. They hold the
// contents of a receive buffer of the usual size. The bound ends Close during a flood.
const maxCloseBatches = 4096 / receiveBatch

// Close answers the datagrams that have arrived and closes the socket. If its send
// buffer is full, other sockets send the replies. Replies that remain unsent count as
// send errors.
func (s *Server) Close() { s.close(maxCloseBatches) }

// close is Close with a given maximum number of batches.
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

// sendAll sends the pending replies. If a send buffer is full, it does not wait but
// tries other sockets. It reports whether it sent all replies.
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

// fail removes a failed socket from the loop and closes it.
func (s *Server) fail(why error) {
	if s.fd < 0 {
		return
	}
	_ = s.loop.Remove(s.fd)
	s.Removed(s.fd, why)
}

// closeSocket closes the socket. It drops the pending replies and counts them as send
// errors.
func (s *Server) closeSocket() {
	s.endWait()
	s.closeSender()
	s.closePool()
	_ = unix.Close(s.fd)
	s.fd = -1
	s.config.Counters.add(counterSendErrors, uint64(len(s.batch.pending)))
	s.batch.pending = nil
}
