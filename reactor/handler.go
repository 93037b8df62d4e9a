package reactor

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Handler answers for one registered file descriptor. Its methods are called
// by the loop's goroutine alone.
type Handler interface {
	// Ready says which events fd has. They are hints: the descriptor may turn
	// out not to be ready after all, so Ready expects EAGAIN.
	//
	// Ready returns the events that it has dealt with. If PollErr or PollHup
	// was among events and is not among those returned, and fd is still
	// registered, the loop removes fd, since the kernel would report it for
	// ever. PollNval always has that end.
	Ready(fd int, events Events) (handled Events)

	// Removed says that the loop, not the handler, has ended fd's
	// registration, and why: an UnhandledError, a *PanicError, ErrClosed, or
	// the error with which the poller refused a changed mask. The handler still
	// owns fd; this is the place to close it.
	Removed(fd int, why error)
}

// HandlerFunc is a Handler that needs no more than a function. When the loop
// removes its descriptor, that is closed.
type HandlerFunc func(fd int, events Events) (handled Events)

// Ready calls f.
func (f HandlerFunc) Ready(fd int, events Events) Events { return f(fd, events) }

// Removed closes fd.
func (f HandlerFunc) Removed(fd int, why error) { _ = unix.Close(fd) }

var (
	// ErrRegistered is returned by Add for a descriptor that has a handler.
	ErrRegistered = errors.New("descriptor is registered already")
	// ErrNotRegistered is returned by Modify and Remove.
	ErrNotRegistered = errors.New("descriptor is not registered")
	// ErrEdge is returned where Edge is asked of a poller without it.
	ErrEdge = errors.New("edge-triggered events need the epoll poller")
	// ErrClosed is what handlers still registered at Close are told.
	ErrClosed = errors.New("event loop is closed")
)

// UnhandledError tells a handler that its descriptor was removed because it
// left these events unhandled.
type UnhandledError struct{ Events Events }

func (e UnhandledError) Error() string { return fmt.Sprintf("event %v left unhandled", e.Events) }

// PanicError tells a handler that its descriptor was removed because it
// panicked.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // as of runtime/debug.Stack
}

func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// Unwrap returns the panic's value where that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
