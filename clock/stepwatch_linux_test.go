package clock

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestStepOfTheHostsClockIsAnnounced sets the clock to the time that it shows. That moves
// it by about a microsecond.
func TestStepOfTheHostsClockIsAnnounced(t *testing.T) {
	if os.Getenv("NOWD_SET_CLOCK") != "1" {
		t.Skip("runs only with NOWD_SET_CLOCK=1: it sets the clock, and every nowd on this host sees a step")
	}
	w, err := WatchSteps()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ready := func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.FD()), Events: unix.POLLIN}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return n == 1
	}
	stepped := func() bool {
		was, err := w.Stepped()
		if err != nil {
			t.Fatal(err)
		}
		return was
	}
	if ready() || stepped() {
		t.Error("a step was announced, but there was none")
	}
	for range 3 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatal(err)
		}
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); errors.Is(err, unix.EPERM) {
			t.Skip("this user may not set the clock")
		} else if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); !ready(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the step was not announced within 10 s")
			}
		}
		if !stepped() {
			t.Error("the descriptor was readable, but Stepped reported no step")
		}
		if ready() || stepped() {
			t.Error("one step was announced twice")
		}
	}
}
