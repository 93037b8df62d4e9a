//go:build linux

package clockbound

import (
	"encoding/binary"
	"os"
	"testing"
	"time"
	"unsafe"
)

func TestSegmentIsLaidOutAsVersion2(t *testing.T) {
	w, path := created(t)
	written(t, w, Snapshot{
		AsOf: 3*time.Second + 4, VoidAfter: 5*time.Second + 6, Bound: 7, Marker: 8, MaxDrift: 9, Status: Disrupted,
	})
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	e := binary.NativeEndian
	want := e.AppendUint32(nil, 0x414D5A4E)
	want = e.AppendUint32(want, 0x43420200)
	want = e.AppendUint32(want, 80)
	want = e.AppendUint16(want, 2)
	want = e.AppendUint16(want, 2) // the first update is complete
	for _, v := range []uint64{3, 4, 5, 6, 7, 8} {
		want = e.AppendUint64(want, v)
	}
	want = e.AppendUint32(want, 9)
	want = e.AppendUint32(want, 3)
	want = append(want, 0, 0, 0, 0, 0, 0, 0, 0)
	if string(got) != string(want) {
		t.Errorf("the file is\n%x, want\n%x", got, want)
	}
	if unsafe.Sizeof(segment{}) != segmentSize || unsafe.Offsetof(segment{}.marker) != markerWord*8 {
		t.Error("segment does not have the layout of the format")
	}
}

func TestGenerationIsNeverZeroAgain(t *testing.T) {
	m := new(memory)
	var s segment
	previous := uint16(0)
	for range 70_000 {
		m.store(segment{}, func() {
			if h := m.header(); h.generation == 0 && h.version != 0 {
				t.Fatal("generation 0")
			}
		})
		if !m.load(&s) {
			t.Fatalf("not whole after an update: generation %d", s.generation)
		}
		if want := max(2, previous+2); s.generation != want {
			t.Fatalf("generation %d after generation %d", s.generation, previous)
		}
		previous = s.generation
	}
}

func TestOddGenerationStaysUntilTheNextUpdateIsComplete(t *testing.T) {
	for _, c := range []struct{ found, during, after uint16 }{{7, 7, 8}, {8, 9, 10}, {65534, 65535, 2}, {65535, 65535, 2}, {0, 1, 2}} {
		m := new(memory)
		s := segment{magic: magic, size: 96, version: version2, generation: c.found}
		m[headerWord].Store(s.words()[headerWord])
		stores := 0
		m.store(segment{bound: 5}, func() {
			stores++
			h := m.header()
			if stores > 1 && stores < 11 && h.generation != c.during || stores == 11 && h.generation != c.after {
				t.Errorf("generation found %d: %d after store %d", c.found, h.generation, stores)
			}
		})
		if !m.load(&s) || s.bound != 5 || s.size != 96 {
			t.Errorf("generation found %d: %+v after the update", c.found, s)
		}
	}
}
