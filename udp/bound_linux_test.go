package udp

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"nowd/reactor"
)

// maxRun is the maximum CPU time of one event.
const maxRun = time.Millisecond

// TestEventOfASocketIsBounded: more datagrams have arrived than a batch holds, and each
// asks for the longest answer. The test checks the median, since a thread's CPU time
// includes interrupts.
func TestEventOfASocketIsBounded(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector uses CPU time")
	}
	at, s := start(t, "127.0.0.1:0")
	client := dial(t, at)
	request := append([]byte("json"), bytes.Repeat([]byte(" "), MaxRequest-4)...)
	var runs []time.Duration
	for range 40 {
		release := hold(s)
		for range 2 * receiveBatch {
			if _, err := client.Write(request); err != nil {
				t.Fatal(err)
			}
		}
		took := make(chan time.Duration)
		s.loop.Post(func() {
			began := threadTime(t)
			s.Ready(s.fd, reactor.PollIn)
			s.Ready(s.fd, reactor.PollOut)
			took <- threadTime(t) - began
		})
		release()
		runs = append(runs, <-took)
	}
	slices.Sort(runs)
	if median := runs[len(runs)/2]; median > maxRun {
		t.Errorf("median CPU time %v, want at most %v", median, maxRun)
	} else {
		t.Logf("CPU time of %d events: median %v, maximum %v", len(runs), median, runs[len(runs)-1])
	}
}

// threadTime returns the CPU time of the calling thread.
func threadTime(t *testing.T) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		t.Error(err)
	}
	return time.Duration(now.Nano())
}
