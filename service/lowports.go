package service

import (
	"errors"
	"log/slog"
)

// lowPorts keeps the right to bind to ports below unprivilegedPorts until all endpoints
// at such ports are bound, and gives it up then. It belongs to the first loop's
// goroutine.
//
// What needs the right later does without it: a listener that is lost is not reopened
// (see endpoint.lost), and UDP sockets with a stuck send buffer are replaced by
// sockets that were opened beforehand (see udp.Config).
type lowPorts struct {
	unprivileged uint16       // the lowest port that takes no right: unprivilegedPorts
	pending      int          // endpoints below it that are not bound yet
	giveUp       func() error // gives up the right, for the whole process and for good
	givenUp      bool
	log          *slog.Logger
}

// spareSenders is the number of sockets that each UDP server at a low port opens to
// send from.
const spareSenders = 16

// errNotReopened is why an endpoint at a low port is not served once its socket is lost.
var errNotReopened = errors.New("nowd has given up the right to bind to this port, so it has to be restarted")

// has reports whether binding to a port takes the right.
func (l *lowPorts) has(port uint16) bool { return port < l.unprivileged }

// bound takes note that an endpoint is bound, or needs no binding.
func (l *lowPorts) bound() {
	if l.pending--; l.pending > 0 || l.givenUp {
		return
	}
	if err := l.giveUp(); err != nil {
		l.log.Warn("cannot give up the right to bind to low ports", "error", err)
		return
	}
	l.givenUp = true
	l.log.Debug("gave up the right to bind to low ports", "below", l.unprivileged)
}
