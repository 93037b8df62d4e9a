package clock

import (
	"testing"
	"time"
	"unsafe"
)

// reading returns a time.Time with the given wall clock and monotonic clock. The
// time package has no function for that, so reading writes the fields of
// time.Time: a flag for the monotonic clock, 33 bits of seconds since 1885, 30
// bits of nanoseconds, and the monotonic clock.
func reading(wall time.Time, mono time.Duration) time.Time {
	since := wall.Unix() - time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	made := struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}{1<<63 | uint64(since)<<30 | uint64(wall.Nanosecond()), int64(mono), time.UTC}
	return *(*time.Time)(unsafe.Pointer(&made))
}

func TestReadingHasTheLayoutOfTheTimePackage(t *testing.T) {
	wall := time.Date(2036, 2, 7, 6, 28, 16, 5, time.UTC)
	a, b := reading(wall, time.Hour), reading(wall.Add(3*time.Second), time.Hour+time.Second)
	if !a.Round(0).Equal(wall) || b.Sub(a) != time.Second || b.Round(0).Sub(a.Round(0)) != 3*time.Second {
		t.Fatalf("%v, %v: %v apart", a, b, b.Sub(a))
	}
	if s := step(a, b); s != 2*time.Second {
		t.Errorf("a step of %v, want 2s", s)
	}
	if s := step(a, wall.Add(time.Hour)); s != 0 {
		t.Errorf("a step of %v to a time without a monotonic part, want 0", s)
	}
}
