package health

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"nowd/socket"
)

// MaxConns is an upper bound on the open connections of a Server, of all its listeners
// together. Each takes one descriptor.
const MaxConns = 64

// Server is an HTTP server with limits. It does not run on the event loops, so it answers
// even if they hang.
type Server struct {
	*http.Server
	conns conns
	log   *slog.Logger
}

// NewServer returns a server for handler. It logs its errors to log.
func NewServer(handler http.Handler, log *slog.Logger) *Server {
	s := &Server{log: log}
	s.Server = &http.Server{
		Handler:           s.conns.whileAnswering(handler),
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
	}
	return s
}

// Serve serves at l until l is closed or fails for good, and returns the error of l.
func (s *Server) Serve(l net.Listener) error {
	return s.Server.Serve(&listener{Listener: l, conns: &s.conns, log: s.log})
}

const (
	// acceptBackoff is the pause after an error of accept(2) that may last.
	acceptBackoff = 100 * time.Millisecond

	// maxAcceptErrors is the number of errors in a row, of any kind, after which Accept
	// pauses.
	maxAcceptErrors = 100
)

// listener is a net.Listener whose Accept fails only if the socket has to be reopened.
// http.Server would end after temporary errors, such as ENOBUFS.
type listener struct {
	net.Listener
	conns  *conns
	log    *slog.Logger
	errors int // since the last connection
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err == nil {
			l.errors = 0
			return l.conns.admit(c), nil
		}
		var errno syscall.Errno
		if !errors.As(err, &errno) {
			return nil, err // such as net.ErrClosed
		}
		l.errors++
		action := socket.ActionFor(socket.Accepting, err)
		if action == socket.Reopen {
			return nil, err
		}
		if action == socket.BackOff || l.errors%maxAcceptErrors == 0 {
			if l.errors == 1 || l.errors == maxAcceptErrors {
				l.log.Warn("cannot accept connections for probes; retrying", "error", err)
			}
			time.Sleep(acceptBackoff)
		}
	}
}
