package reactor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A registration is what the loop stores for one descriptor.
type registration struct {
	handler      Handler
	interest     Events // the events that the handler asks for
	kernelMask   Events // the events that the kernel was last told to watch
	generation   uint32 // distinguishes it from earlier registrations of the same descriptor; 0 if there is none
	updateQueued bool   // the descriptor is in Loop.updates
}

// Add registers fd with a handler for the events in interest, which may be
// empty. The descriptor should be in non-blocking mode. The errors are
// ErrRegistered, ErrEdge, EBADF for a negative fd, and the poller's error for a
// descriptor that it cannot watch.
func (l *Loop) Add(fd int, interest Events, h Handler) error {
	if fd < 0 {
		return fmt.Errorf("add descriptor %d: %w", fd, unix.EBADF)
	}
	if l.registered(fd) {
		return fmt.Errorf("add descriptor %d: %w", fd, ErrRegistered)
	}
	for fd >= len(l.registrations) {
		l.registrations = append(l.registrations, registration{})
	}
	l.lastGeneration++
	if l.lastGeneration == 0 { // wrapped after 2^32 registrations
		l.lastGeneration = 1
	}
	if err := l.poller.add(fd, interest, l.lastGeneration); err != nil {
		return fmt.Errorf("add descriptor %d: %w", fd, err)
	}
	l.registrations[fd] = registration{
		handler:      h,
		interest:     interest,
		kernelMask:   interest,
		generation:   l.lastGeneration,
		updateQueued: l.registrations[fd].updateQueued,
	}
	if interest&PollOut != 0 {
		l.assumedWritable.push(event{fd: int32(fd), generation: l.lastGeneration, events: PollOut})
	}
	return nil
}

// Modify replaces fd's interest.
//
// A handler that adds PollOut is called with PollOut before the loop asks the
// kernel whether fd is writable. If it adds PollOut while it handles an event,
// that call comes as soon as it returns, before any other handler is called.
// Otherwise the call comes before the loop next waits.
//
// The loop updates the kernel's mask just before it waits, and only if it still
// differs from the interest. So a handler that reads a request, changes its
// interest to PollOut, writes the answer and changes its interest back to
// PollIn costs no system call for that. With Edge the kernel's mask is always
// updated, because that arms the descriptor again.
//
// The only error is ErrNotRegistered. If the poller refuses the new interest,
// the loop removes the descriptor and tells the handler.
func (l *Loop) Modify(fd int, interest Events) error {
	if !l.registered(fd) {
		return fmt.Errorf("modify descriptor %d: %w", fd, ErrNotRegistered)
	}
	r := &l.registrations[fd]
	// For the handler that is being called, call reports the added PollOut.
	if interest&^r.interest&PollOut != 0 && r.generation != l.current.generation {
		l.assumedWritable.push(event{fd: int32(fd), generation: r.generation, events: PollOut})
	}
	r.interest = interest
	if !r.updateQueued {
		r.updateQueued = true
		l.updates = append(l.updates, int32(fd))
	}
	return nil
}

// Remove ends fd's registration. Call it before closing fd. Events of fd that
// the loop has not dispatched yet are dropped. The only error is
// ErrNotRegistered.
func (l *Loop) Remove(fd int) error {
	if !l.registered(fd) {
		return fmt.Errorf("remove descriptor %d: %w", fd, ErrNotRegistered)
	}
	r := &l.registrations[fd]
	r.handler, r.generation = nil, 0
	// The error would say that fd is closed: then the kernel has stopped
	// watching it already.
	_ = l.poller.remove(fd)
	return nil
}

func (l *Loop) registered(fd int) bool {
	return uint(fd) < uint(len(l.registrations)) && l.registrations[fd].generation != 0
}

// lookup returns the registration that ev was reported for. It returns nil if
// ev is stale: that registration has ended, even if its descriptor has been
// registered again.
func (l *Loop) lookup(ev event) *registration {
	if r := &l.registrations[ev.fd]; r.generation == ev.generation && ev.generation != 0 {
		return r
	}
	return nil
}

// updateKernelMasks makes the kernel's masks equal to the handlers' interest.
func (l *Loop) updateKernelMasks() {
	for len(l.updates) > 0 {
		fd := int(l.updates[len(l.updates)-1])
		l.updates = l.updates[:len(l.updates)-1]
		r := &l.registrations[fd]
		r.updateQueued = false
		if r.generation == 0 || (r.interest == r.kernelMask && r.interest&Edge == 0) {
			continue
		}
		r.kernelMask = r.interest
		if err := l.poller.modify(fd, r.interest, r.generation); err != nil {
			l.current, l.removalReason = event{fd: int32(fd), generation: r.generation}, err
			l.removeCurrent()
		}
	}
}
