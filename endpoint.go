package main

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"nowd/socket"
)

// endpoint is an address that the loops serve at, each with a socket of its
// own. They are opened together, on the first loop, which tries again until the
// address is free; and if one is lost they are opened anew.
type endpoint struct {
	*service
	offer    *offer
	addr     netip.AddrPort
	optional bool                  // where there is no IPv6, IPv4 does
	err      atomic.Pointer[error] // why it is not served; nil if it is

	// The first loop's own.
	again   time.Duration // how long the last attempt was put off
	told    string        // the error that was logged last
	opening int           // the number of the opening that counts; what is told of others is over
	since   time.Duration // when it was opened last, on the loop's clock

	close []func() // for each loop, its own: closes its socket; nil if there is none
}

// String returns the protocol and the address, as /ready and logs name it.
func (e *endpoint) String() string { return fmt.Sprintf("%s %v", e.offer.name, e.addr) }

func (e *endpoint) fail(err error) { e.err.Store(&err) }

// check is the endpoint's part of being ready.
func (e *endpoint) check() error {
	if err := e.err.Load(); err != nil {
		return *err
	}
	return nil
}

// firstRetry and lastRetry bound the time between two attempts, which doubles.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// open is a step of the first loop's preparation.
func (e *endpoint) open() (again time.Duration) {
	if e.stopping.Load() {
		return 0
	}
	fds, err := socket.Open(e.offer.network, e.addr, len(e.workers))
	if err != nil && e.optional && noIPv6(err) {
		e.log.Debug("no IPv6 on this host", "error", err)
		e.err.Store(nil)
		return 0
	}
	if err != nil {
		if e.told != err.Error() {
			e.told = err.Error()
			e.log.Warn("cannot listen; trying again until it works", "error", err)
		}
		e.fail(err)
		return e.putOff()
	}
	e.log.Info("listening", "protocol", e.offer.name, "address", e.addr.String())
	e.told, e.since = "", e.workers[0].loop.Now()
	e.opening++
	e.err.Store(nil)
	for i, fd := range fds {
		e.serve(i, fd, e.opening)
	}
	return 0
}

// putOff returns how long to wait for the next attempt.
func (e *endpoint) putOff() time.Duration {
	e.again = min(max(firstRetry, 2*e.again), lastRetry)
	return e.again
}

// noIPv6 reports whether err is that of a host without IPv6.
func noIPv6(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// serve has a loop serve at its socket.
func (e *endpoint) serve(i, fd, opened int) {
	w := e.workers[i]
	w.loop.Post(func() {
		gone := func(why error) {
			e.close[i] = nil
			e.lost(why, opened)
		}
		shut, err := w.servers[e.offer.index].serve(fd, gone)
		if err != nil {
			gone(err)
			return
		}
		e.close[i] = shut
	})
}

// lost opens all sockets anew, since one of those that were opened together is
// gone. It is called on that one's loop. What is told of an earlier opening is
// over: the loop may have been late to see it.
func (e *endpoint) lost(why error, opened int) {
	first := e.workers[0].loop
	first.Post(func() {
		if e.opening != opened || e.stopping.Load() {
			return
		}
		e.log.Error("a socket is gone; opening it anew", "endpoint", e.String(), "error", why)
		e.opening++
		e.fail(why)
		for i, w := range e.workers {
			w.loop.Post(func() {
				if e.close[i] != nil {
					e.close[i]()
					e.close[i] = nil
				}
			})
		}
		if first.Now()-e.since > 10*lastRetry {
			e.again = 0 // it was good for a while
		}
		first.After(e.putOff(), func() { first.Prepare(e.open) })
	})
}
