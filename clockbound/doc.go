// Package clockbound shares the error bound of the clock between programs of one
// host, through memory: the format of ClockBound 2. A Client reads the time and how
// far off it may be, in less time than two system calls would take. A Writer is what
// nowd shares its clock with, if NOWD_CLOCKBOUND is set.
//
// # Using the time
//
// Client.Now returns an Interval that contained the true time when the clock was
// read. Decide by it, not by its middle:
//
//   - Interval.After(t): t is certainly past. A lease that ended at t is over.
//   - Interval.Before(t): t has certainly not come. A lease that ends at t is still
//     mine.
//   - Neither: nobody can know.
//
// Two events are in order if the Latest of the one is before the Earliest of the
// other. To have all events in the order of their timestamps, on all hosts, stamp an
// event with Latest, and do not let anybody see it before Client.WaitUntilAfter
// returns: commit wait. The wait takes about twice the error bound.
//
// # Statuses
//
//   - Synchronized: somebody steers the clock, and the interval holds.
//   - FreeRunning: the interval holds, but it is old: the writer has not updated it
//     for 5 s, or has stopped. It grows until it expires.
//   - Disrupted: the clock was just set, or a time server contradicts it.
//   - Unknown: nobody knows how far off the clock is, or it is too far off.
//
// With the last two, and with any error, the interval is all of time, so that
// nothing is certain.
//
// A client cannot see a step before the writer does, which takes less than 10 ms on a
// machine that is not busy; an interval from within that time may be wrong. When the
// writer has died, nobody sees a step or a fast slew until the segment expires.
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
//	    32  i64 ×2  void-after, likewise
//	    48  i64     error bound at as-of, in ns
//	    56  u64     disruption marker
//	    64  u32     drift, in parts per billion: how fast the bound grows
//	    68  i32     status: 0 unknown, 1 synchronized, 2 free running, 3 disrupted
//	    72  u8      1 if clients have to compare the marker with that of /dev/vmclock0
//	    73          7 bytes of padding
//
// # Promises
//
// Each is followed by the test that holds it.
//
//   - No reader sees a mixture of two updates, on any processor: not in this process
//     (TestReadersNeverSeeATornSnapshot), nor in another that knows nothing of this
//     package (TestForeignReadersNeverSeeATornSnapshot). The generation has 16 bits; a
//     read during which 32,767 updates are made could be fooled.
//   - A writer may be killed between any two stores. Readers go on with the last whole
//     update, and the next writer goes on in the same file
//     (TestWriterMayBeKilledBetweenTwoStores, TestNextWriterGoesOnInTheSameFile).
//   - A file that is something else is never written to
//     (TestCreateRefusesWhatIsNoSegment), and a segment has one Writer
//     (TestSegmentHasOneWriter).
//   - Now makes no system call (TestNowMakesNoSystemCall), allocates nothing
//     (TestNowAllocatesNothing), and takes less than 1.5 times as long as reading
//     CLOCK_REALTIME and CLOCK_MONOTONIC in C
//     (TestNowCostsLittleMoreThanReadingTheClocks).
//   - An update is never taken for younger than it is
//     (TestMonotonicClockNeverSeemsEarlier), and the bound is rounded up
//     (TestBoundGrowsByTheDriftAndIsRoundedUp).
//
// A file that somebody truncates takes its readers with it, as with all mapped files:
// SIGBUS. nowd never does so; mount it read-only for all others.
package clockbound
