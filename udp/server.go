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
	"nowd/socket"
)

// Dialect makes the answers.
type Dialect interface {
	// AppendDatagram appends the answer, as of now, to a datagram that arrived at
	// arrived, of which req holds the beginning and size is the length. It
	// appends nothing to what is no request, nor, with the form
	// answer.Untrusted, if the clock is not good enough to be told.
	AppendDatagram(b, req []byte, size int, arrived, now time.Time) ([]byte, answer.Form)
}

// Kisser is a Dialect in which a client can be told that it asks too often.
type Kisser interface {
	// AppendKiss appends that to be told, in no more bytes than the request
	// has. It appends nothing to what is no request.
	AppendKiss(b, req []byte, size int) ([]byte, answer.Form)
}

// Config says what a Server needs to know.
type Config struct {
	Clock    *clock.Clock
	Dialect  Dialect
	Guard    *guard.Guard
	Counters *Counters
	// Arrival has the kernel tell when each datagram arrived.
	Arrival bool
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

	kisser   Kisser        // nil if the dialect has no such answer
	kissed   time.Duration // when, last
	failures int           // of receiving, in a row
	backlog  backlog
}

const (
	// kissEvery is how often one of those who ask too often is told so.
	kissEvery = time.Second
	// tolerance is how many errors in a row a socket may have before it is
	// given up: it may be one that does not go away.
	tolerance = 100
)

// Serve answers what arrives at fd, a non-blocking socket, which it owns from
// now on and closes when it fails. Should it be lost later, gone is called.
// Call Serve on the loop's goroutine.
func Serve(loop *reactor.Loop, fd int, c Config, gone func(why error)) (*Server, error) {
	s := newServer(loop, fd, c, gone)
	err := askForAddress(fd)
	if err == nil && c.Arrival {
		err = askForArrival(fd)
	}
	if err == nil {
		err = loop.Add(fd, reactor.PollIn, s)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return s, nil
}

func newServer(loop *reactor.Loop, fd int, c Config, gone func(why error)) *Server {
	s := &Server{Config: c, loop: loop, fd: fd, gone: gone, batch: newBatch(), kissed: -kissEvery}
	s.kisser, _ = c.Dialect.(Kisser)
	return s
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
	if s.fd < 0 {
		return
	}
	s.backlog.look(s)
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
		if s.receive(); len(s.batch.owed) > 0 && s.fd >= 0 {
			_ = s.loop.Modify(fd, reactor.PollOut)
		}
	case ev&reactor.PollOut != 0:
		if err := s.send(); !errors.Is(err, unix.EAGAIN) && s.fd >= 0 {
			_ = s.loop.Modify(fd, reactor.PollIn)
		}
	}
	return ev &^ reactor.PollHup // of a socket that was shut down: it is of no use any more
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
	s.failures = 0
	s.Counters.c.Add(counterRequests, uint64(n))
	bytes := 0
	for slot := range n {
		_, size := s.batch.request(slot)
		bytes += size
		v := s.judge(slot)
		switch {
		case v == guard.Pass:
			s.batch.owed = append(s.batch.owed, debt{slot: slot})
		case v == guard.RateLimit && s.mayKiss():
			s.kissed = s.loop.Now()
			s.batch.owed = append(s.batch.owed, debt{slot, true})
		default:
			s.Counters.c.Add(counterDrops+int(v), 1)
		}
	}
	s.backlog.saw(s, n, bytes)
	return true
}

// mayKiss reports whether it is time to tell somebody that he asks too often,
// which counts like an answer.
func (s *Server) mayKiss() bool {
	now := s.loop.Now()
	return s.kisser != nil && now-s.kissed >= kissEvery && (s.Guard.Total == nil || s.Guard.Total.Allow(now))
}

func (s *Server) judge(slot int) guard.Verdict {
	if s.batch.about[slot].toMany {
		return guard.DestAddr
	}
	req, _ := s.batch.request(slot)
	return s.Guard.Judge(s.batch.source(slot), req, s.loop.Now())
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
		switch fault := socket.FaultOf(socket.Sending, err); {
		case errors.Is(err, unix.EAGAIN):
			return err
		case fault == socket.Broken:
			s.lose(err)
			return err
		case fault != socket.None:
			// It costs the others nothing.
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
		b, form := s.append(s.batch.answer(n), s.batch.owed[n], now)
		if len(b) == 0 {
			s.batch.forget(n)
			why := guard.Invalid
			if form == answer.Untrusted {
				why = guard.Untrusted
			}
			s.Counters.c.Add(counterDrops+int(why), 1)
			continue
		}
		s.forms[n] = form
		s.batch.reply(n, s.batch.owed[n].slot, b)
		n++
	}
	return n
}

func (s *Server) append(b []byte, d debt, now time.Time) ([]byte, answer.Form) {
	req, size := s.batch.request(d.slot)
	if d.kiss {
		return s.kisser.AppendKiss(b, req, size)
	}
	arrived := s.batch.about[d.slot].arrived
	if arrived.IsZero() {
		arrived = now
	}
	return s.Dialect.AppendDatagram(b, req, size, arrived, now)
}

// failed takes note of an error in receiving.
func (s *Server) failed(err error) {
	switch socket.FaultOf(socket.Receiving, err) {
	case socket.None:
		return
	case socket.Broken:
		s.failures = tolerance
	default:
		s.failures++
	}
	s.Counters.c.Add(counterReceiveErrors, 1)
	if s.failures >= tolerance {
		s.lose(err)
	}
}

// lose gives up the socket.
func (s *Server) lose(why error) {
	if s.fd < 0 {
		return
	}
	_ = s.loop.Remove(s.fd)
	s.Removed(s.fd, why)
}

// pending takes a socket's error off it.
func pending(fd int) error {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && n != 0 {
		err = unix.Errno(n)
	}
	return err
}
