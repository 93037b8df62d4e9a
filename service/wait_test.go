//go:build linux

package service

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nowd/clock"
	"nowd/clockbound"
	"nowd/config"
)

// The log of an init container has the reason for the wait, but not once a second.
func TestWaitLogsItsReasonOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		progress := progressTo(&log)
		for range 3 * 60 {
			time.Sleep(time.Second)
			progress(errors.New("no reason"))
		}
		if want := strings.Repeat("waiting: no reason\n", 3); log.String() != want {
			t.Errorf("%q, want %q", log.String(), want)
		}
	})
}

// TestWaitEndsWhenTheSegmentIsGood waits for a segment that does not exist, then has the
// status unknown, then a bound above the limit.
func TestWaitEndsWhenTheSegmentIsGood(t *testing.T) {
	path := inMemory(t)
	type result struct {
		bound time.Duration
		err   error
	}
	ended := make(chan result)
	reasons := make(chan string)
	go func() {
		w := Wait{Config: &config.Config{}, Limit: 10 * time.Millisecond, ClockBound: path, Progress: func(why error) { reasons <- why.Error() }}
		bound, err := w.Run(t.Context())
		ended <- result{bound, err}
	}()
	await := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; {
			select {
			case why := <-reasons:
				if strings.Contains(why, want) {
					return
				}
				if time.Now().After(deadline) {
					t.Fatalf("waits because of %q, want %q", why, want)
				}
			case r := <-ended:
				t.Fatalf("ended before %q: %+v", want, r)
			}
		}
	}
	await("no such file")
	w := segmentAt(t, path, noClaim)
	w.update()
	await(path + ": the clock is not synchronised, or its error is above the writer's limit (status unknown); want an error bound of at most 10ms")
	w.updated(clock.State{MaxError: 50 * time.Millisecond})
	await("want at most 10ms")
	w.clock.Stepped()
	w.update()
	await(path + ": the clock was set, or a time server contradicts it (status disrupted); want an error bound of at most 10ms")
	w.compared(0)
	w.updated(clock.State{MaxError: 5 * time.Millisecond})
	for {
		select {
		case <-reasons:
			continue
		case r := <-ended:
			if r.err != nil || r.bound <= 0 || r.bound > 10*time.Millisecond {
				t.Errorf("%+v", r)
			}
		}
		return
	}
}

func TestWaitSaysWhyTheClockIsNotTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		environ []string
		path    string
		want    string
	}{
		"no comparison": {[]string{"NOWD_UPSTREAM=127.0.0.1:1"}, "", "not been compared with NOWD_UPSTREAM"},
		"the kernel":    {nil, "", "the clock"},
		"no segment":    {nil, "/no/such/file", "no such file"},
		"not a segment": {nil, "/proc/self/exe", clockbound.ErrNoSegment.Error()},
		"a directory":   {nil, "/", clockbound.ErrNoSegment.Error()},
	} {
		settings, err := config.Load(c.environ)
		if err != nil {
			t.Fatal(err)
		}
		tooLate := errors.New("too late")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, tooLate)
		defer cancel()
		w := Wait{Config: settings, Limit: 1, ClockBound: c.path}
		if _, err := w.Run(ctx); !errors.Is(err, tooLate) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
