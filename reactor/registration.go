package reactor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A registration is what the loop stores for one descriptor.
type registration struct {
	handler      Handler
	interest     Events // the events that the handler wants
	kernelMask   Events // the events that the kernel watches
	generation   uint32 // differs from that of earlier registrations of the descriptor; 0 if not registered
	updateQueued bool   // the descriptor is in Loop.updates
}

// Add registers fd with a handler for the events in interest, which may be
// empty. fd must be in non-blocking mode. If interest has PollOut, the loop calls
// h with PollOut before it next blocks, without asking the kernel whether fd is
// writable.
//
// The error wraps ErrRegistered, ErrEdge, EBADF for a negative fd, or the poller's
// error for a descriptor that it cannot watch.
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
// A handler that adds PollOut is called with PollOut without asking the kernel
// whether fd is writable. If it adds PollOut while it handles an event of fd,
// the call comes as soon as it returns, before any other handler is called.
// Otherwise the call comes before the loop next blocks.
//
// The loop updates the kernel's mask just before it waits, and only if it
// differs from the interest by then. So Modify to PollOut and back to PollIn,
// for one request, makes no system call. With Edge the loop always updates the
// kernel's mask, because that arms the descriptor again.
//
// The only error wraps ErrNotRegistered. If the poller refuses the new interest,
// the loop removes the descriptor and calls Removed with the poller's error.
func (l *Loop) Modify(fd int, interest Events) error {
	if !l.registered(fd) {
		return fmt.Errorf("modify descriptor %d: %w", fd, ErrNotRegistered)
	}
	r := &l.registrations[fd]
	// If the handler of fd is running, call reports the added PollOut.
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

// Remove ends fd's registration. Call it before closing fd. The loop drops the
// events of fd that it has not dispatched yet. The only error wraps
// ErrNotRegistered.
func (l *Loop) Remove(fd int) error {
	if !l.registered(fd) {
		return fmt.Errorf("remove descriptor %d: %w", fd, ErrNotRegistered)
	}
	r := &l.registrations[fd]
	r.handler, r.generation = nil, 0
	// An error means that fd is closed. Then the kernel does not watch it any more.
	_ = l.poller.remove(fd)
	return nil
}

func (l *Loop) registered(fd int) bool {
	return uint(fd) < uint(len(l.registrations)) && l.registrations[fd].generation != 0
}

// lookup returns the registration of ev, or nil if ev is stale: its registration
// has ended, even if the descriptor has been registered again.
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
