//go:build linux

package clockbound

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestForeignReadersNeverSeeATornSnapshot updates a segment without a pause, while
// several processes read it. They run a C program that was written from the
// description of the format alone.
func TestForeignReadersNeverSeeATornSnapshot(t *testing.T) {
	program := compiled(t, "reader.c")
	w, path := created(t)
	written(t, w, numbered(1))
	var stop atomic.Bool
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := uint64(2); !stop.Load(); n++ {
			s := numbered(n)
			w.mapped.memory.store(s.segment(), nil)
		}
	})
	defer writer.Wait()
	defer stop.Store(true)
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			out, err := exec.Command(program, "hammer", path, "1").CombinedOutput()
			var reads, late int
			if _, scanErr := fmt.Sscan(string(out), &reads, &late); err != nil || scanErr != nil || reads == 0 {
				t.Errorf("%v: %s", err, out)
			}
			t.Logf("%d reads, %d of them skipped because they took too long", reads+late, late)
		})
	}
	readers.Wait()
}

// TestForeignReaderAgreesWithThisOne compares the intervals of the C program and of
// this package, for the same segment and the same readings of the clocks.
func TestForeignReaderAgreesWithThisOne(t *testing.T) {
	program := compiled(t, "reader.c")
	w, path := created(t)
	real := time.Unix(2_000_000_000, 5)
	for status := Unknown; status <= Disrupted; status++ {
		for _, age := range []time.Duration{0, time.Second, grace - 1, grace, 59 * time.Second, time.Minute} {
			s := Snapshot{AsOf: time.Hour, VoidAfter: time.Hour + time.Minute, Bound: 1_234_567, MaxDrift: 500_000, Status: status}
			written(t, w, s)
			out, err := exec.Command(program, "at", path, fmt.Sprint(real.UnixNano()), fmt.Sprint(int64(s.AsOf+age))).CombinedOutput()
			var earliest, latest, bound int64
			var got Status
			if _, scanErr := fmt.Sscan(string(out), &earliest, &latest, &got, &bound); err != nil || scanErr != nil {
				t.Fatalf("%v: %s", err, out)
			}
			want, _ := s.At(real, s.AsOf+age)
			if got != want.Status {
				t.Errorf("%v, %v old: %v by the C program, %v here", status, age, got, want.Status)
			}
			if !got.Bounded() {
				continue
			}
			// This package rounds the bound up.
			if e, l := want.Earliest.UnixNano(), want.Latest.UnixNano(); e > earliest || e < earliest-2 || l < latest || l > latest+2 {
				t.Errorf("%v, %v old: %d to %d by the C program, %d to %d here", status, age, earliest, latest, e, l)
			}
		}
	}
}

func TestForeignReaderReadsTheClockItself(t *testing.T) {
	program := compiled(t, "reader.c")
	w, path := created(t)
	written(t, w, recent(t))
	before := time.Now()
	out, err := exec.Command(program, "now", path).CombinedOutput()
	after := time.Now()
	var earliest, latest, bound int64
	var status Status
	if _, scanErr := fmt.Sscan(string(out), &earliest, &latest, &status, &bound); err != nil || scanErr != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if status == Unknown || earliest > after.UnixNano()-bound || latest < before.UnixNano()+bound || time.Duration(bound) < time.Millisecond {
		t.Errorf("the C program printed %s between %v and %v", strings.TrimSpace(string(out)), before, after)
	}
}
