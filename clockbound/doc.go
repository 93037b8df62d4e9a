// Package clockbound shares the error bound of a host's clock between programs,
// through memory, in the format of ClockBound 2. A Client reads the time and its
// error bound in less time than two system calls take. A Writer updates the bound.
// nowd has a Writer if NOWD_CLOCKBOUND is set.
//
// The package works on Linux. On other systems Open and Create return an error
// that wraps errors.ErrUnsupported.
//
// # Reading the time
//
// Open returns a Client. Client.Now returns an Interval that contained the true
// time when Now read the clock. Decide by the interval, not by its middle:
//
//   - Interval.After(t): the true time is certainly after t. A lease that ended at
//     t has expired.
//   - Interval.Before(t): the true time is certainly before t. A lease that ends
//     at t is still held.
//   - Neither: t is in the interval, and nothing is certain.
//
// An event certainly came before another one if its Latest is before the Earliest
// of the other.
//
// Commit wait gives events timestamps in the order in which they happen, on all
// hosts. Stamp an event with Latest, and make it visible only after
// Client.WaitUntilAfter has returned for that timestamp. The wait takes about twice
// the error bound.
//
// # What the caller must do
//
//   - Check Status.Bounded before using Earliest or Latest. If it returns false, or
//     if Now returns an error, the interval is all of time. Before and After then
//     return false, so nothing is certain.
//   - Use an interval for the moment of its Now only. Call Now again for a later
//     one.
//   - If the program may start before the writer, call Open again after
//     fs.ErrNotExist and ErrNotWritten.
//   - On an error, decide whether to stop or to call Now again. ErrExpired and
//     ErrNotWritten end when the writer updates the segment. The Client stays
//     usable after any error but os.ErrClosed.
//   - If ErrExpired or a status that is not Bounded lasts, call Open again: the file
//     may have been removed and made anew. An old Client still reads the old file,
//     which nobody updates any more.
//   - Mount the file read-only for all programs but the writer. If a program
//     truncates the file, the kernel ends its readers with SIGBUS, as with all
//     mapped files. nowd never truncates it.
//
// # Statuses
//
//   - Synchronized: the clock is steered, and the interval holds.
//   - FreeRunning: the interval holds, but its bound is old: the writer has not
//     updated it for 5 s, or has stopped. The interval grows until the segment
//     expires.
//   - Disrupted: the clock was just set, or a time server contradicts it. The
//     error is not bounded.
//   - Unknown: the error of the clock is not known, or above the writer's limit.
//     The error is not bounded.
//
// A client sees a step of the clock only after the writer. That takes less than
// 10 ms on a machine that is not busy. An interval from that time may be wrong.
// After the writer has died, clients do not see a step, or a slew of more than
// the drift, until the segment expires.
//
// # Writing a segment
//
// Create returns a Writer. For each update call AsOf first, then read the clock's
// error, then call Writer.Write. Update once a second, and at once after a step,
// with another Marker. If the last update is 5 s old, clients take the clock as
// free-running.
//
// # The format
//
// A file of 80 bytes, in the byte order of the processor, in a file system in memory.
// Clients map it read-only.
//
//	offset  type
//	     0  u32     0x414D5A4E
//	     4  u32     0x43420200
//	     8  u32     size of the segment, in bytes
//	    12  u16     version: 2
//	    14  u16     generation: odd during an update, even after it, 0 before the first
//	    16  i64 ×2  as-of: seconds and nanoseconds of CLOCK_MONOTONIC_COARSE
//	    32  i64 ×2  void-after: seconds and nanoseconds of CLOCK_MONOTONIC_COARSE
//	    48  i64     error bound at as-of, in ns
//	    56  u64     disruption marker
//	    64  u32     drift, in parts per billion: how fast the bound grows
//	    68  i32     status: 0 unknown, 1 synchronized, 2 free running, 3 disrupted
//	    72  u8      1 if clients must compare the marker with that of /dev/vmclock0
//	    73          7 bytes of padding
//
// # Promises
//
// Each is followed by the test that holds it.
//
//   - No reader sees parts of two updates, on any processor: not in this process
//     (TestReadersNeverSeeATornSnapshot), nor in another one that does not use this
//     package (TestForeignReadersNeverSeeATornSnapshot). The generation has 16 bits,
//     so a read that lasts for 32,767 updates can fail to notice them.
//   - A writer may be killed between any two stores. Readers then use the last whole
//     update, and the next writer continues in the same file
//     (TestWriterMayBeKilledBetweenTwoStores, TestNextWriterContinuesInTheSameFile).
//   - A Writer never writes to a file that is not a segment
//     (TestCreateRefusesAFileThatIsNoSegment), and a segment has one Writer
//     (TestSegmentHasOneWriter).
//   - Now makes no system call (TestNowMakesNoSystemCall), allocates nothing
//     (TestNowAllocatesNothing), and takes less than 1.5 times as long as reading
//     CLOCK_REALTIME and CLOCK_MONOTONIC in C
//     (TestNowCostsLittleMoreThanReadingTheClocks).
//   - An update never seems younger than it is
//     (TestMonotonicClockNeverSeemsEarlier), and the bound is rounded up
//     (TestBoundGrowsByTheDriftAndIsRoundedUp).
package clockbound
