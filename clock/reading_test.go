package clock

import (
	"testing"
	"time"
	"unsafe"
)

// reading returns what time.Now would have returned at a time on the wall and a
// time on the monotonic clock. The time package has no way to make one of both,
// so it is laid out as described at time.Time: a bit that says so, 33 bits of
// seconds since 1885 and 30 of nanoseconds, and then the monotonic clock.
func reading(wall time.Time, mono time.Duration) time.Time {
	since := wall.Unix() - time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	made := struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}{1<<63 | uint64(since)<<30 | uint64(wall.Nanosecond()), int64(mono), time.UTC}
	return *(*time.Time)(unsafe.Pointer(&made))
}

func TestReadingsAreMadeAsTheTimePackageDoes(t *testing.T) {
	wall := time.Date(2036, 2, 7, 6, 28, 16, 5, time.UTC)
	a, b := reading(wall, time.Hour), reading(wall.Add(3*time.Second), time.Hour+time.Second)
	if !a.Round(0).Equal(wall) || b.Sub(a) != time.Second || b.Round(0).Sub(a.Round(0)) != 3*time.Second {
		t.Fatalf("%v, %v: %v apart", a, b, b.Sub(a))
	}
	if s := step(a, b); s != 2*time.Second {
		t.Errorf("a step of %v", s)
	}
	if s := step(a, wall.Add(time.Hour)); s != 0 {
		t.Errorf("a step of %v to a time with no monotonic part", s)
	}
}
