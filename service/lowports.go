package service

import (
	"errors"
	"log/slog"
)

// lowPorts keeps CAP_NET_BIND_SERVICE until all endpoints at low ports are bound, and then
// drops it. Only the first loop's goroutine uses it.
//
// Afterwards nowd cannot bind to low ports: a failed listener is not reopened (see
// endpoint.lost), and a UDP socket with a stuck send buffer is replaced by a socket that
// was opened before (see udp.Config).
type lowPorts struct {
	unprivileged uint16       // ports below this one are low: unprivilegedPorts
	pending      int          // endpoints at low ports that are not bound yet
	drop         func() error // drops the capability, for the whole process and for good
	dropped      bool
	log          *slog.Logger
}

// spareSenders is the number of spare sockets that each UDP server at a low port opens to
// send from.
const spareSenders = 16

// errNotReopened is why an endpoint at a low port stays unserved after its socket failed.
var errNotReopened = errors.New("nowd has dropped CAP_NET_BIND_SERVICE and cannot bind to this port again; restart nowd")

// has reports whether a port is low.
func (l *lowPorts) has(port uint16) bool { return port < l.unprivileged }

// bound is called once for each endpoint at a low port, when it is bound or does not have
// to be bound any more.
func (l *lowPorts) bound() {
	if l.pending--; l.pending > 0 || l.dropped {
		return
	}
	if err := l.drop(); err != nil {
		l.log.Warn("cannot drop CAP_NET_BIND_SERVICE", "error", err)
		return
	}
	l.dropped = true
	l.log.Debug("dropped CAP_NET_BIND_SERVICE: all low ports are bound", "below", l.unprivileged)
}
