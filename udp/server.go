// Package udp answers datagrams. A Server has one socket, on one event loop.
//
// The way of a datagram: the socket is readable, and a batch is received; the
// guard drops what may not be answered; if anything is left the handler turns
// to PollOut, and in that turn the clock is read, the dialect makes the answers,
// and they are sent. Then it turns back to PollIn.
package udp

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"nowd/answer"
	"nowd/clock"
	"nowd/guard"
	"nowd/reactor"
)

// Dialect makes the answers.
type Dialect interface {
	// AppendDatagram appends the answer, as of now, to a datagram of which req
	// holds the beginning and size is the length. It appends nothing to what
	// is no request.
	AppendDatagram(b, req []byte, size int, now time.Time) ([]byte, answer.Form)
}

// Config says what a Server needs to know.
type Config struct {
	Clock    *clock.Clock
	Dialect  Dialect
	Guard    *guard.Guard
	Counters *Counters
}

// Server is the handler of one socket. Its methods belong to the loop's
// goroutine.
type Server struct {
	Config
	loop  *reactor.Loop
	fd    int // -1 if the socket is closed
	gone  func(why error)
	batch *batch
	forms [sendSize]answer.Form // of the answers made last
}

// Serve answers what arrives at fd, a non-blocking socket, which it owns from
// now on and closes when it fails. Should it be lost later, gone is called.
// Call Serve on the loop's goroutine.
func Serve(loop *reactor.Loop, fd int, c Config, gone func(why error)) (*Server, error) {
	s := &Server{Config: c, loop: loop, fd: fd, gone: gone, batch: newBatch()}
	err := askForAddress(fd)
	if err == nil {
		err = loop.Add(fd, reactor.PollIn, s)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

// Close answers what has arrived by now, as far as it can be sent without
// waiting, and closes the socket.
func (s *Server) Close() {
	if s.fd < 0 {
		return
	}
	for range maxBatches {
		if s.send() != nil || !s.receive() {
			break
		}
	}
	_ = s.loop.Remove(s.fd)
	_ = unix.Close(s.fd)
	s.fd = -1
}

// maxBatches is how much a closing server still answers: all that fits into a
// receive buffer of some size, but not what goes on arriving for ever.
const maxBatches = 4096 / batchSize

// Ready reads a batch and turns to PollOut, or answers one and turns to PollIn.
// While answers wait nothing is read: the socket's buffer is the queue.
func (s *Server) Ready(fd int, ev reactor.Events) reactor.Events {
	switch {
	case ev&reactor.PollErr != 0:
		s.failed(pending(fd))
	case ev&reactor.PollIn != 0:
		if s.receive(); len(s.batch.owed) > 0 {
			_ = s.loop.Modify(fd, reactor.PollOut)
		}
	case ev&reactor.PollOut != 0:
		if !errors.Is(s.send(), unix.EAGAIN) {
			_ = s.loop.Modify(fd, reactor.PollIn)
		}
	}
	return ev
}

// Removed closes the socket.
func (s *Server) Removed(fd int, why error) {
	_ = unix.Close(fd)
	s.fd = -1
	if !errors.Is(why, reactor.ErrClosed) {
		s.gone(why)
	}
}

// receive takes in one batch, the one before it being answered. It reports
// whether there was anything.
func (s *Server) receive() bool {
	n, err := s.batch.receive(s.fd)
	if err != nil {
		s.failed(err)
		return false
	}
	s.Counters.c.Add(counterRequests, uint64(n))
	for slot := range n {
		req, _ := s.batch.request(slot)
		if v := s.Guard.Judge(s.batch.source(slot), req, s.loop.Now()); v == guard.Pass {
			s.batch.owed = append(s.batch.owed, slot)
		} else {
			s.Counters.c.Add(counterDrops+int(v), 1)
		}
	}
	return true
}

// send answers what is owed. It returns EAGAIN if the socket has no room for
// all of it; the rest is answered when it has, with the time as of then.
func (s *Server) send() error {
	for len(s.batch.owed) > 0 {
		n := s.answer()
		sent, err := s.batch.send(s.fd, n)
		for _, form := range s.forms[:sent] {
			s.Counters.c.Add(counterAnswers+int(form), 1)
		}
		s.batch.settle(sent)
		switch {
		case err == nil || errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return err
		default:
			// The kernel refuses this one datagram: its source cannot be
			// reached, a filter forbids it, the address that it was sent to
			// is gone. It costs the others nothing.
			s.batch.settle(1)
			s.Counters.c.Add(counterSendErrors, 1)
		}
	}
	return nil
}

// answer makes the first answers that are owed, as many as leave together, and
// returns their number. They are of the same time. What is no request is owed
// none.
func (s *Server) answer() (n int) {
	now := s.Clock.Now()
	for n < min(len(s.batch.owed), sendSize) {
		slot := s.batch.owed[n]
		req, size := s.batch.request(slot)
		b, form := s.Dialect.AppendDatagram(s.batch.answer(n), req, size, now)
		if len(b) == 0 {
			s.batch.forget(n)
			s.Counters.c.Add(counterDrops+int(guard.Invalid), 1)
			continue
		}
		s.forms[n] = form
		s.batch.reply(n, slot, b)
		n++
	}
	return n
}

// failed takes note of an error in receiving. None is worth giving the socket
// up: EINTR and EAGAIN mean that there is nothing; ENOMEM and ENOBUFS that the
// host is short of memory just now; and those of the network (ENETDOWN, say)
// belong to one datagram, not to the socket.
func (s *Server) failed(err error) {
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		s.Counters.c.Add(counterReceiveErrors, 1)
	}
}

// pending takes a socket's error off it.
func pending(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	return err
}
