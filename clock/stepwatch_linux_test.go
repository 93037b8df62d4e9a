package clock

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSettingTheTimeIsAnnounced sets the clock to what it shows, which moves it by a
// microsecond or so.
func TestSettingTheTimeIsAnnounced(t *testing.T) {
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
		t.Error("announced without a step")
	}
	for range 3 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatal(err)
		}
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &now); errors.Is(err, unix.EPERM) {
			if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
				t.Log("this root may not set the clock")
			}
			t.Skip(err)
		} else if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); !ready(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("not announced")
			}
		}
		if !stepped() {
			t.Error("no step was read")
		}
		if ready() || stepped() {
			t.Error("announced twice")
		}
	}
}
