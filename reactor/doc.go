// Package reactor is an event loop: it waits until file descriptors are ready,
// and calls their handlers.
//
// # The loop
//
// One goroutine, on one thread, runs one Loop. Handlers, timers and posted
// functions run on it one at a time, so what they share needs no lock; and none
// of them may block, for everyone else waits meanwhile. A program that wants
// more cores runs more loops. Other goroutines reach a loop by Post and Stop.
//
// A turn of the loop is this:
//
//	run the timers that are due
//	call the handlers that have turned to PollOut
//	tell the kernel about masks that differ from what it was told last
//	wait, until a descriptor is ready or a timer is due
//	call the handlers of what is ready
//
// A loop with nothing to do waits for ever. It makes no system call, and there
// is no time-out or heartbeat of its own.
//
// # Handlers and interest
//
// A handler is registered for a descriptor with the events that it wants to be
// called for. It changes them with Modify whenever it likes; that costs next to
// nothing. The loop does not pass each change on to the kernel but compares what
// the handler wants with what the kernel knows just before it waits. And a
// handler that turns to PollOut is called with it at once, in the hope that there
// is room to write, as there nearly always is.
//
// So the plain way to write a server is also the fast one. Be interested in
// PollIn; read a request; turn to PollOut. Called with PollOut, write the
// answer; when all of it is written, turn back to PollIn. That makes two system
// calls, one to read and one to write. If the peer does not read, and only then,
// the mask remains PollOut, the kernel is told, and the loop calls again when
// there is room. Since the handler does not ask for PollIn meanwhile, the peer
// cannot have more answers piled up: that is back-pressure.
//
// # What is promised, and what is not
//
// Events are hints. A descriptor may turn out not to be ready, so make it
// non-blocking and expect EAGAIN. Without Edge, an event is reported as long as
// it lasts: a handler need not read all that there is. It should not, from a
// busy peer, because the others wait for their turn.
//
// With Edge a change is reported once. The handler reads or writes until EAGAIN,
// or sees to it that it is called again: Modify arms the descriptor anew, and
// what is ready then is reported again.
//
// Events of a descriptor that was removed do not arrive any more, even if they
// were found in the same wait, and even if the number has been registered
// again. Remove a descriptor before you close it. Events that the mask does not
// ask for any more do not arrive either.
//
// PollErr and PollHup are reported whether asked for or not, along with what can
// still be read. Read first: the last bytes of a peer that has reset the
// connection are there. A handler says in its return value which events it has
// dealt with; if it leaves one of these two, the loop removes the descriptor
// rather than report it for ever, and tells the handler.
//
// A handler that panics is removed and told so; the panic is logged with its
// stack, counted in Stats, and costs nothing else.
//
// # Timers
//
// After and Every go by the monotonic clock, which nobody sets. A timer is never
// early. Pollers count in milliseconds or microseconds, so the loop rounds up:
// a timer may be as much later.
//
// # Pollers
//
// There is one for each of epoll(7), poll(2) and select(2), and all promise the
// same, but that only epoll has Edge, only it stays fast with thousands of
// descriptors, and only it does not notice when a descriptor is closed without
// having been removed. With select, descriptors have to be below FD_SETSIZE, and
// a hang-up shows as PollIn.
package reactor
