package reactor

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Handler handles the events of registered descriptors. Only the loop's
// goroutine calls its methods.
type Handler interface {
	// Ready handles events of fd. They are hints: fd may turn out not to be
	// ready, so Ready must expect EAGAIN.
	//
	// Ready returns the events that it has handled. Only PollErr and PollHup
	// matter: if one of them was reported and is not returned, the loop removes
	// fd, because the kernel would report it in every wait. After PollNval the
	// loop always removes fd. If Ready itself has removed fd, the result does
	// not matter.
	Ready(fd int, events Events) (handled Events)

	// Removed is called after the loop, not the handler, has removed fd. The
	// reason is an UnhandledError, a *PanicError, ErrClosed, or the poller's
	// error for an interest that it refused. The handler still owns fd and
	// should close it.
	Removed(fd int, reason error)
}

// A HandlerFunc is a function that is a Handler. Its Removed closes the
// descriptor.
type HandlerFunc func(fd int, events Events) (handled Events)

var _ Handler = HandlerFunc(nil)

// Ready calls f.
func (f HandlerFunc) Ready(fd int, events Events) Events { return f(fd, events) }

// Removed closes fd.
func (f HandlerFunc) Removed(fd int, reason error) { _ = unix.Close(fd) }

var (
	// ErrRegistered is the error of Add for a descriptor that is registered.
	ErrRegistered = errors.New("descriptor is already registered")
	// ErrNotRegistered is the error of Modify and Remove for a descriptor that
	// is not registered.
	ErrNotRegistered = errors.New("descriptor is not registered")
	// ErrEdge is the error for Edge with a poller that does not support it. Add
	// returns it. After Modify, Removed is called with it.
	ErrEdge = errors.New("edge-triggered events need the epoll poller")
	// ErrClosed is the reason with which Close calls Removed.
	ErrClosed = errors.New("event loop is closed")
)

// UnhandledError is the reason for the removal of a descriptor whose handler
// has not handled these events.
type UnhandledError struct{ Events Events }

func (e UnhandledError) Error() string { return fmt.Sprintf("event %v was not handled", e.Events) }

// PanicError is the reason for the removal of a descriptor whose handler
// panicked.
type PanicError struct {
	Value any    // the argument of panic
	Stack []byte // the stack trace, as returned by debug.Stack
}

func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }

// Unwrap returns the argument of panic if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
