package reactor

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Handler handles the events of registered descriptors. Only the loop's
// goroutine calls its methods.
type Handler interface {
	// Ready is called when events of fd are ready. They are hints: fd may turn
	// out not to be ready, so Ready expects EAGAIN.
	//
	// Ready returns the events that it has handled. If it was called with
	// PollErr or PollHup and does not return it, and fd is still registered,
	// the loop removes fd, because the kernel would report that event in every
	// wait. After PollNval the loop always removes fd.
	Ready(fd int, events Events) (handled Events)

	// Removed is called when the loop, not the handler, has ended fd's
	// registration. The reason is an UnhandledError, a *PanicError, ErrClosed,
	// or the poller's error for an interest that it refused. The handler still
	// owns fd, and should close it.
	Removed(fd int, why error)
}

// A HandlerFunc is a function that serves as a Handler. When the loop removes
// its descriptor, the descriptor is closed.
type HandlerFunc func(fd int, events Events) (handled Events)

var _ Handler = HandlerFunc(nil)

// Ready calls f.
func (f HandlerFunc) Ready(fd int, events Events) Events { return f(fd, events) }

// Removed closes fd.
func (f HandlerFunc) Removed(fd int, why error) { _ = unix.Close(fd) }

var (
	// ErrRegistered is returned by Add for a descriptor that is registered.
	ErrRegistered = errors.New("descriptor is already registered")
	// ErrNotRegistered is returned by Modify and Remove for a descriptor that
	// is not registered.
	ErrNotRegistered = errors.New("descriptor is not registered")
	// ErrEdge is the error for Edge with a poller that does not support it. Add
	// returns it; after Modify the handler's Removed gets it.
	ErrEdge = errors.New("edge-triggered events need the epoll poller")
	// ErrClosed is the reason for removal that Close gives to the handlers that
	// are still registered.
	ErrClosed = errors.New("event loop is closed")
)

// UnhandledError is the reason for removal of a descriptor whose handler left
// these events unhandled.
type UnhandledError struct{ Events Events }

func (e UnhandledError) Error() string { return fmt.Sprintf("event %v was not handled", e.Events) }

// PanicError is the reason for removal of a descriptor whose handler panicked.
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
