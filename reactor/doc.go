// Package reactor is an event loop: it waits until file descriptors are ready
// and calls their handlers.
//
// # The loop
//
// A Loop runs on one goroutine, locked to one thread. It calls handlers, timers
// and posted functions one at a time, so they can share data without a lock.
// None of them may block, because everything else on the loop waits meanwhile.
//
// Other goroutines reach a loop with Post and Stop. To use more cores, run more
// loops.
//
// A handler is registered for one descriptor, with an interest: the events for
// which the loop calls it. The kernel's mask of a descriptor is the set of events
// that the kernel reports for it. A turn of the loop has five steps:
//
//  1. Run the timers that are due.
//  2. Call the handlers that have added PollOut to their interest outside a call
//     of their own: in a timer, for example.
//  3. Update the kernel's masks that differ from their handlers' interest.
//  4. Wait until a descriptor is ready or a timer is due.
//  5. Call the handlers of the descriptors that are ready. If a handler adds
//     PollOut to its interest, call it again at once, with PollOut.
//
// Post ends the wait. In any other step, posted functions run as soon as the
// current handler or timer returns.
//
// # Handlers
//
// Modify changes a handler's interest. The handler of a server's connection
// switches between reading and writing:
//
//   - Its interest is PollIn at first.
//   - Called with PollIn, it reads a request and changes its interest to PollOut.
//   - Called with PollOut, it writes the answer. When the whole answer is
//     written, it changes its interest back to PollIn.
//
// Besides the wait, a request then costs two system calls, the read and the
// write:
//
//   - The loop calls a handler that has added PollOut at once, without asking
//     the kernel. A socket is nearly always writable.
//   - The loop updates the kernel's mask just before it waits, and only if the
//     mask differs from the interest by then.
//
// If the socket is full, the interest is still PollOut when the loop is about to
// wait. The loop then updates the kernel's mask, and calls the handler again
// when the socket is writable. Until then the handler does not read. So a peer
// that does not read its answers cannot cause more of them: this is
// backpressure.
//
// # Promised events and hints
//
// Promised: the loop reports an event of the interest, and reports it again in
// each wait while it lasts. With Edge it reports the event once for each change.
//
// A hint: that the descriptor is ready. When a handler has just added PollOut,
// PollOut is only a guess. Data that made a descriptor readable may be gone by
// the time the handler reads.
//
// # What the caller must do
//
//   - Put a descriptor into non-blocking mode before Add.
//   - Expect EAGAIN from every read and write.
//   - Do a bounded amount of work for each event: the other handlers wait.
//   - Call Remove before closing a descriptor.
//   - After PollErr or PollHup, read first: there may be unread data. Then remove
//     and close the descriptor, or do not return the event as handled: the loop
//     then removes the descriptor and calls Removed. If the handler returns the
//     event as handled and keeps the descriptor, the loop reports it again in each
//     wait.
//   - While a connect(2) is in progress, do not take PollOut for its end: the first
//     PollOut is a guess. Until it has ended, getpeername(2) returns ENOTCONN, and
//     SO_ERROR may be 0.
//   - With Edge, read or write until EAGAIN, or call Modify to have the event
//     reported again.
//   - Call every method on the loop's goroutine, or before Run. The exceptions
//     are listed at Loop.
//   - Call Close after Run has returned.
//
// # Promises
//
// Each is followed by the test that holds it, for all pollers.
//
//   - Handlers, timers and posted functions run one at a time, on one goroutine
//     (TestHandlersTimersAndPostedFunctionsRunOneAtATime), in the order of the
//     steps of a turn (TestTurnRunsTimersThenWritersThenReadyHandlers).
//   - A loop with nothing to do makes no system call and has no heartbeat
//     (TestIdleLoopMakesNoSystemCall).
//   - An event is reported in each wait for as long as it lasts
//     (TestReadableDescriptorIsReportedUntilRead). With Edge it is reported once
//     for each change, and again after Modify
//     (TestEdgeReportsAnEventOncePerChange).
//   - A handler that adds PollOut is called at once
//     (TestPollOutIsReportedAtOnceEvenIfNotWritable). Switching to PollOut and
//     back for a request costs no system call
//     (TestInterestSwitchedForARequestCostsNoSystemCall) and no allocation
//     (TestRequestAllocatesNothing). A full socket is backpressure
//     (TestFullSocketIsBackpressure).
//   - Stale events do not arrive: not after Remove, even if the descriptor has
//     been registered again (TestStaleEventDoesNotReachTheNextRegistration), and
//     not outside the current interest (TestEventsOutsideTheInterestAreNotReported).
//   - PollErr and PollHup are reported even if they are not in the interest. If
//     the handler does not return them as handled, the loop removes the
//     descriptor and calls Removed (TestUnhandledHangUpRemovesTheDescriptor,
//     TestHandledHangUpKeepsTheDescriptor). After PollNval it always does
//     (TestClosedDescriptorIsRemoved). Data that arrived before a reset can still
//     be read (TestDataBeforeAResetCanBeRead).
//   - A panic in a handler removes that descriptor alone
//     (TestPanicRemovesThatDescriptorAlone). A panic in a timer or a posted
//     function removes none
//     (TestPanicInATimerOrPostedFunctionRemovesNoDescriptor). Each panic is
//     logged with its stack and counted in Stats.
//   - A timer never fires early (TestTimerIsNeverEarly). It fires in the first
//     turn after it is due (TestTimerFiresAsSoonAsItIsDue). Pollers count in
//     milliseconds or microseconds, so that turn may be up to one unit late
//     (TestTimeoutsRoundUp). Every does not drift, and skips missed calls
//     (TestEveryKeepsToMultiplesOfItsPeriod).
//   - Nothing starves descriptors: not a timer that sets itself again
//     (TestZeroTimerDoesNotStarveDescriptors), not a function that posts itself
//     again (TestPostDoesNotStarveDescriptors), not a handler that keeps adding
//     PollOut (TestHandlerThatKeepsAddingPollOutStarvesNoOther).
//   - Posted functions run in order, and none is lost
//     (TestPostFromManyGoroutinesLosesNothing). They wait for one handler or
//     timer at most, however many are due
//     (TestPostedFunctionRunsBetweenTwoHandlers). After Close, Post returns false
//     (TestPostAfterCloseIsRefused).
//   - Close calls Removed of the handlers that are still registered
//     (TestCloseCallsRemovedOfRegisteredHandlers).
//
// # Pollers
//
// A loop waits with epoll(7), poll(2) or select(2). The promises are the same
// for all three, with these differences:
//
//   - Only epoll supports Edge. With the others Add returns ErrEdge
//     (TestEdgeReportsAnEventOncePerChange).
//   - epoll reports at most 256 descriptors in one wait. It reports the others in
//     the next ones.
//   - epoll does not report a descriptor that was closed without Remove.
//   - poll and select cost more with each registered descriptor, ready or not.
//     epoll does not.
//   - select takes only descriptors below FD_SETSIZE
//     (TestSelectRefusesLargeDescriptors), and reports a hang-up as PollIn
//     (TestSelectReportsAHangUpAsPollIn).
//
// # Systems
//
// The tests run on Linux. The package also compiles for darwin and the BSDs,
// with poll and select. On other systems the build fails with a message that
// names the supported ones.
package reactor
