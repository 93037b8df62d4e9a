// Package reactor is an event loop: it waits until file descriptors are ready,
// and calls their handlers.
//
// # The loop
//
// One goroutine, locked to one thread, runs one Loop. It calls handlers, timers
// and posted functions one at a time. So what they share needs no lock, and none
// of them may block: everything else on the loop would wait. A program that
// wants to use more cores runs more loops. Other goroutines reach a loop with
// Post and Stop.
//
// A turn of the loop has five steps:
//
//  1. Run the timers that are due.
//  2. Call the handlers that have added PollOut to their interest.
//  3. Update the kernel's masks that differ from their handlers' interest.
//  4. Wait until a descriptor is ready or a timer is due.
//  5. Call the handlers of the descriptors that are ready.
//
// Posted functions run as soon as the timer or the handler that is running has
// returned, in any of these steps.
//
// # Writing a handler
//
// A handler is registered with a descriptor and its interest: the events for
// which it is called. It changes its interest with Modify.
//
// A server's handler starts with an interest in PollIn. Called with PollIn, it
// reads a request and changes its interest to PollOut. Called with PollOut, it
// writes the answer. When all of the answer is written, it changes its interest
// back to PollIn.
//
// That costs two system calls, the read and the write. The loop calls a handler
// that has added PollOut at once, without asking the kernel, because a socket is
// nearly always writable. And it updates the kernel's mask only if it still
// differs from the interest when the loop is about to wait. It still differs if
// the socket was full. Then the loop calls the handler again when the socket has
// become writable. Meanwhile the handler does not read, so a peer that does not
// read its answers cannot cause more of them: this is back-pressure.
//
// The caller has to:
//
//   - put descriptors into non-blocking mode,
//   - expect EAGAIN, because events are hints: a descriptor may turn out not to
//     be ready,
//   - do a bounded amount of work for an event, because others wait meanwhile,
//   - call Remove before it closes a descriptor,
//   - read before it acts on PollErr or PollHup,
//   - with Edge, read or write until EAGAIN, or call Modify to have the event
//     reported again.
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
//     (TestRequestAllocatesNothing). A full socket is back-pressure
//     (TestFullSocketIsBackPressure).
//   - Stale events do not arrive: not after Remove, even if the descriptor has
//     been registered again (TestStaleEventDoesNotReachTheNextRegistration), and
//     not outside the current interest (TestEventsOutsideTheInterestAreNotReported).
//   - PollErr and PollHup are reported whether they are in the interest or not.
//     If the handler does not return them as handled, the loop removes the
//     descriptor and tells the handler (TestUnhandledHangUpRemovesTheDescriptor,
//     TestHandledHangUpKeepsTheDescriptor). After PollNval the loop always does
//     (TestClosedDescriptorIsRemoved). Data that arrived before a reset can still
//     be read (TestDataBeforeAResetCanBeRead).
//   - A panic in a handler removes that descriptor alone
//     (TestPanicRemovesThatDescriptorAlone). A panic in a timer or a posted
//     function removes none
//     (TestPanicInATimerOrPostedFunctionRemovesNoDescriptor). Each panic is
//     logged with its stack and counted in Stats.
//   - A timer is never early (TestTimerIsNeverEarly). It fires in the first turn
//     after it is due (TestTimerFiresAsSoonAsItIsDue), by a clock that nobody
//     sets. Pollers count in milliseconds or microseconds, so that turn may be up
//     to one unit late (TestTimeoutsRoundUp). Every does not drift, and does not
//     make up for missed calls (TestEveryKeepsToMultiplesOfItsPeriod).
//   - Nothing starves descriptors: not a timer that sets itself again
//     (TestZeroTimerDoesNotStarveDescriptors), not a function that posts itself
//     again (TestPostDoesNotStarveDescriptors), not a handler that keeps adding
//     PollOut (TestHandlerThatKeepsAddingPollOutStarvesNobody).
//   - Posted functions run in order, and none is lost
//     (TestPostFromManyGoroutinesLosesNothing). They wait for one handler or
//     timer at most, however many are due
//     (TestPostedFunctionRunsBetweenTwoHandlers). After Close, Post reports false
//     (TestPostAfterCloseIsRefused).
//   - Close tells the handlers that are still registered
//     (TestCloseTellsTheHandlersThatAreLeft).
//
// # Pollers
//
// A loop waits with epoll(7), poll(2) or select(2). The promises are the same
// for all three, with these differences:
//
//   - Only epoll supports Edge. With the others Add returns ErrEdge
//     (TestEdgeReportsAnEventOncePerChange).
//   - epoll does not report a descriptor that was closed without Remove.
//   - epoll's cost does not grow with the number of descriptors that are not
//     ready. That of the others does.
//   - select takes only descriptors below FD_SETSIZE
//     (TestSelectRefusesLargeDescriptors), and reports a hang-up as PollIn
//     (TestSelectReportsAHangUpAsPollIn).
//
// # Systems
//
// The tests run on Linux. The package also compiles for darwin and the BSDs,
// with poll and select. On other systems the build fails with a message that
// says so.
package reactor
