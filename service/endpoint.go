package service

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"nowd/config"
	"nowd/reactor"
	"nowd/socket"
)

// endpoint is an address at which a protocol is served. It has a socket for each
// of its places. The sockets are opened together, by the first loop, which
// retries with backoff while the address is not available; if one is lost, all are
// closed and reopened. That is a new generation.
type endpoint struct {
	protocol config.Protocol
	addr     netip.AddrPort
	places   []*place
	first    *reactor.Loop
	log      *slog.Logger
	draining *atomic.Bool          // lost sockets are not reopened
	low      *lowPorts             // if binding takes the right to low ports; otherwise nil
	changed  func()                // called when the endpoint is served, or not any more; for the first loop's goroutine
	err      atomic.Pointer[error] // why the endpoint is not served; nil if it is

	// For the first loop's goroutine only.
	generation uint64 // of the open sockets; reports about older ones are ignored
	backoff    backoff
	serving    int           // places that serve in this generation
	bound      bool          // all places have served at a time, or need not
	logged     string        // the error that was logged last
	opened     time.Duration // when, on the first loop's clock
}

// place is where one of an endpoint's sockets is served: for most protocols a
// loop. The methods of its server are called by functions given to post.
type place struct {
	post   func(f func()) bool
	server server
	close  func() // ends service at the socket and closes it; nil while none is open
}

// server serves one protocol at one place.
type server interface {
	// serve serves at fd, which it owns from now on, and closes it if it returns
	// an error. It calls lost if the socket fails later. close ends service there.
	serve(fd int, lost func(why error)) (close func(), err error)
}

// String returns the protocol and the address, as /ready and logs show them.
func (e *endpoint) String() string { return fmt.Sprintf("%s %v", e.protocol.Name, e.addr) }

func (e *endpoint) fail(err error) { e.err.Store(&err) }

// check returns why the endpoint is not served, or nil. Any goroutine may call it.
func (e *endpoint) check() error {
	if err := e.err.Load(); err != nil {
		return *err
	}
	return nil
}

// open opens the sockets. It is a step of the first loop's preparation: it
// returns after how long it is to be called again, or 0.
func (e *endpoint) open() (retry time.Duration) {
	if e.draining.Load() {
		return 0
	}
	fds, err := socket.Open(e.protocol.Network, e.addr, len(e.places))
	if err != nil && e.canDoWithout(err) {
		e.log.Debug("no IPv6 on this host", "error", err)
		e.err.Store(nil)
		e.setBound()
		return 0
	}
	if err != nil {
		if e.logged != err.Error() {
			e.logged = err.Error()
			e.log.Warn("cannot listen; retrying", "error", err)
		}
		e.fail(err)
		return e.backoff.next()
	}
	e.log.Info("listening", "protocol", e.protocol.Name, "address", e.addr.String())
	e.logged, e.opened = "", e.first.Now()
	e.generation++
	e.serving = 0
	e.err.Store(nil)
	for i, fd := range fds {
		e.serve(e.places[i], fd, e.generation)
	}
	e.changed()
	return 0
}

// canDoWithout reports whether err says that this host has no IPv6, and the same
// clients are served over IPv4. Another address may still come.
func (e *endpoint) canDoWithout(err error) bool {
	return e.addr.Addr().Is6() && !e.protocol.Listen.NeedsIPv6(e.addr.Addr()) &&
		(errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL))
}

// serve has a place serve at its socket.
func (e *endpoint) serve(p *place, fd int, generation uint64) {
	p.post(func() {
		lost := func(why error) {
			p.close = nil
			e.lost(why, generation)
		}
		shut, err := p.server.serve(fd, lost)
		if err != nil {
			lost(err)
			return
		}
		p.close = shut
		e.served(generation)
	})
}

// served takes note that a place serves. Any goroutine may call it.
func (e *endpoint) served(generation uint64) {
	if e.low == nil {
		return
	}
	e.first.Post(func() {
		if e.generation != generation {
			return
		}
		if e.serving++; e.serving == len(e.places) {
			e.setBound()
		}
	})
}

// setBound takes note that the endpoint needs the right to low ports no more.
func (e *endpoint) setBound() {
	if e.low != nil && !e.bound {
		e.bound = true
		e.low.bound()
	}
}

// lost reopens the endpoint, since one of its sockets is gone. Any goroutine may
// call it, and late: another place may have reported the same generation before. If
// the right to its port is given up, the other places serve on, as far as there are
// any, and only a restart helps.
func (e *endpoint) lost(why error, generation uint64) {
	e.first.Post(func() {
		if e.generation != generation || e.draining.Load() {
			return
		}
		if e.low != nil && e.low.givenUp {
			why = fmt.Errorf("%w; %w", why, errNotReopened)
			e.log.Error("a socket is gone", "endpoint", e.String(), "error", why)
			e.fail(why)
			return
		}
		e.log.Error("a socket is gone; reopening", "endpoint", e.String(), "error", why)
		e.generation++
		e.fail(why)
		e.changed()
		e.close()
		if e.first.Now()-e.opened > 10*maxBackoff {
			e.backoff.reset() // it was good for a while
		}
		e.first.After(e.backoff.next(), func() { e.first.Prepare(e.open) })
	})
}

// close ends service at all places.
func (e *endpoint) close() {
	for _, p := range e.places {
		p.post(func() {
			if p.close != nil {
				p.close()
				p.close = nil
			}
		})
	}
}

// backoff is the time between two attempts to open an endpoint. It doubles.
type backoff struct{ delay time.Duration }

const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = time.Second
)

// next returns how long to wait before the next attempt.
func (b *backoff) next() time.Duration {
	b.delay = min(max(minBackoff, 2*b.delay), maxBackoff)
	return b.delay
}

func (b *backoff) reset() { b.delay = 0 }
