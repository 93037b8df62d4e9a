//go:build linux && !race

package clockbound

import (
	"bufio"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNowCostsLittleMoreThanReadingTheClocks compares Now with the two clock readings
// of a client in C, in alternating short rounds. It compares the fastest rounds,
// because other programs can only make a round slower. On a busy machine it takes more
// rounds until each has had a fast one.
func TestNowCostsLittleMoreThanReadingTheClocks(t *testing.T) {
	program := exec.Command(compiled(t, "gettime.c"))
	in, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer program.Wait()
	defer in.Close()
	w, path := created(t)
	written(t, w, recent(t))
	c := opened(t, path)
	results := bufio.NewReader(out)
	inC, here := time.Hour, time.Hour
	short := func() bool { return 2*here < 3*inC }
	deadline := time.Now().Add(10 * time.Second)
	for rounds := 0; rounds < 500 || !short() && time.Now().Before(deadline); rounds++ {
		began := time.Now()
		for range 1000 {
			_, _ = c.Now()
		}
		here = min(here, time.Since(began))
		if _, err := in.Write([]byte{'\n'}); err != nil {
			t.Fatal(err)
		}
		line, err := results.ReadString('\n')
		ns, errNumber := strconv.Atoi(strings.TrimSpace(line))
		if err != nil || errNumber != nil {
			t.Fatal(err, errNumber)
		}
		inC = min(inC, time.Duration(ns))
	}
	t.Logf("Now takes %v, two clock_gettime %v: %.2f times as long", here/1000, inC/1000, float64(here)/float64(inC))
	if !short() {
		t.Errorf("Now takes %v, two clock_gettime %v", here/1000, inC/1000)
	}
}

func BenchmarkNow(b *testing.B) {
	w, path := created(b)
	written(b, w, recent(b))
	c := opened(b, path)
	for b.Loop() {
		_, _ = c.Now()
	}
}

func BenchmarkWrite(b *testing.B) {
	w, _ := created(b)
	s := recent(b)
	for b.Loop() {
		_ = w.Write(s)
	}
}
