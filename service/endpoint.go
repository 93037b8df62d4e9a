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

// endpoint is an address at which a protocol is served. It has one socket for each of its
// places. The first loop opens the sockets together, and retries with backoff while the
// address is not available. If one socket fails, all are closed and reopened as a new
// generation.
type endpoint struct {
	protocol config.Protocol
	addr     netip.AddrPort
	places   []*place
	first    *reactor.Loop
	log      *slog.Logger
	draining *atomic.Bool          // if true, failed sockets are not reopened
	low      *lowPorts             // nil unless the port is low
	changed  func()                // called on the first loop's goroutine after the endpoint was opened or lost
	err      atomic.Pointer[error] // why the endpoint is not served; nil if it is

	// For the first loop's goroutine only.
	generation uint64 // of the open sockets; reports about older ones are ignored
	backoff    backoff
	serving    int           // places that serve in this generation
	bound      bool          // all places have served at the same time once, or need not
	logged     string        // the error that was logged last
	opened     time.Duration // when the sockets were opened, on the first loop's clock
}

// place is where one of an endpoint's sockets is served: a loop for most protocols. The
// server's methods, and close, are called on the goroutine of the loop of post.
type place struct {
	post   func(f func()) bool
	server server
	close  func() // stops serving and closes the socket; nil while no socket is open
}

// server serves one protocol at one place.
type server interface {
	// serve starts serving at fd. It takes ownership of fd, and closes fd if it returns
	// an error. If the socket fails later, it calls lost. The returned function stops
	// serving and closes fd.
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

// open opens the sockets. The first loop calls it (see reactor.Loop.Prepare), and calls it
// again after the time that it returns; 0 is never.
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

// canDoWithout reports whether the endpoint may stay closed after err: this host has no
// IPv6, and the same clients can use IPv4. Other IPv6 addresses may appear later, so
// open retries for them.
func (e *endpoint) canDoWithout(err error) bool {
	return e.addr.Addr().Is6() && !e.protocol.Listen.NeedsIPv6(e.addr.Addr()) &&
		(errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL))
}

// serve makes a place serve at its socket.
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

// served is called when a place has begun to serve. Any goroutine may call it.
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

// setBound tells low that the endpoint no longer needs CAP_NET_BIND_SERVICE.
func (e *endpoint) setBound() {
	if e.low != nil && !e.bound {
		e.bound = true
		e.low.bound()
	}
}

// lost reopens the endpoint after one of its sockets failed. Any goroutine may call it.
// Reports about an older generation are ignored: another place has reported it before. If
// the port is low and the capability is dropped, lost does not reopen the endpoint: the
// other places keep serving, and the failed one stays closed until nowd is restarted.
func (e *endpoint) lost(why error, generation uint64) {
	e.first.Post(func() {
		if e.generation != generation || e.draining.Load() {
			return
		}
		if e.low != nil && e.low.dropped {
			why = fmt.Errorf("%w; %w", why, errNotReopened)
			e.log.Error("socket failed", "endpoint", e.String(), "error", why)
			e.fail(why)
			return
		}
		e.log.Error("socket failed; reopening", "endpoint", e.String(), "error", why)
		e.generation++
		e.fail(why)
		e.changed()
		e.close()
		if e.first.Now()-e.opened > 10*maxBackoff {
			e.backoff.reset() // the sockets have worked for a while
		}
		e.first.After(e.backoff.next(), func() { e.first.Prepare(e.open) })
	})
}

// close closes the sockets of all places.
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
