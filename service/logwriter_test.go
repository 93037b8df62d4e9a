package service

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

func newTextLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, nil))
}

// gate is the reader of a log. Writes block while it is shut, and fail while err is set.
type gate struct {
	syncBuffer
	open  sync.RWMutex // held for writing while the gate is shut
	err   error
	short int // bytes that a failing write still writes
}

func (g *gate) Write(p []byte) (int, error) {
	g.open.RLock()
	defer g.open.RUnlock()
	if g.err != nil {
		n, _ := g.syncBuffer.Write(p[:g.short])
		return n, g.err
	}
	return g.syncBuffer.Write(p)
}

// fail makes writes fail from now on, or succeed if err is nil.
func (g *gate) fail(err error, short int) {
	g.open.Lock()
	defer g.open.Unlock()
	g.err, g.short = err, short
}

// idle waits until the LogWriter has written or dropped all lines.
func idle(t *testing.T, w *LogWriter) {
	t.Helper()
	eventually(t, "lines are still queued", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.queue == nil
	})
}

// The queue is bounded. The lines that do not fit are counted, and reported in their place.
func TestUnreadLogLinesAreDroppedAndReported(t *testing.T) {
	var out gate
	out.open.Lock()
	w := NewLogWriter(&out, newTextLogger)
	const lines = 5000
	for i := range lines {
		if _, err := fmt.Fprintf(w, "line %d %s\n", i, strings.Repeat("x", 90)); err != nil {
			t.Fatal(err)
		}
	}
	w.mu.Lock()
	if w.size > maxUnwritten {
		t.Errorf("%d bytes are queued", w.size)
	}
	w.mu.Unlock()
	out.open.Unlock()
	idle(t, w)
	_, _ = io.WriteString(w, "the end\n")
	w.Close()
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	n := len(got) - 2
	if n < 500 || got[n+1] != "the end" {
		t.Fatalf("%d lines, and at last %q", len(got), got[n+1])
	}
	for i, line := range got[:n] {
		if !strings.HasPrefix(line, fmt.Sprintf("line %d x", i)) {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if got := w.Dropped(); got != uint64(lines-n) {
		t.Errorf("%d dropped lines are counted, want %d", got, lines-n)
	}
	if want := fmt.Sprintf(`level=ERROR msg="log lines were dropped" count=%d`, lines-n); !strings.HasSuffix(got[n], want) {
		t.Errorf("%q, want %q", got[n], want)
	}
}

func TestLineThatCannotBeWrittenIsReportedLater(t *testing.T) {
	var out gate
	w := NewLogWriter(&out, newTextLogger)
	write := func(line string) {
		_, _ = io.WriteString(w, line)
		idle(t, w)
	}
	write("first\n")
	out.fail(io.ErrClosedPipe, 0)
	write("second\n")
	write("third\n")
	out.fail(nil, 0)
	write("fourth\n")
	write("fifth\n")
	w.Close()
	got := strings.Split(out.String(), "\n")
	if n := w.Dropped(); n != 2 {
		t.Errorf("%d dropped lines are counted, want 2", n)
	}
	if len(got) != 5 || got[0] != "first" || !strings.HasSuffix(got[1], "count=2") || got[2] != "fourth" || got[3] != "fifth" {
		t.Errorf("%q", got)
	}
}

func TestLineThatWasCutIsNotContinuedByTheNext(t *testing.T) {
	var out gate
	w := NewLogWriter(&out, newTextLogger)
	out.fail(errors.New("disk full"), 3)
	_, _ = io.WriteString(w, "first\n")
	idle(t, w)
	out.fail(nil, 0)
	_, _ = io.WriteString(w, "second\n")
	w.Close()
	got := strings.Split(out.String(), "\n")
	if len(got) != 4 || got[0] != "fir" || !strings.HasSuffix(got[1], "count=1") || got[2] != "second" {
		t.Errorf("%q", got)
	}
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	var out gate
	w := NewLogWriter(&out, newTextLogger)
	for range 100 {
		_, _ = io.WriteString(w, "line\n")
	}
	w.Close()
	_, _ = io.WriteString(w, "late\n")
	if want := strings.Repeat("line\n", 100); out.String() != want {
		t.Errorf("%q", out.String())
	}
}

func TestCloseDoesNotWaitForAWriteThatHangs(t *testing.T) {
	var out gate
	out.open.Lock()
	w := NewLogWriter(&out, newTextLogger)
	_, _ = io.WriteString(w, "line\n")
	closed := make(chan struct{})
	began := time.Now()
	go func() { w.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Fatal("Close waits for ever")
	}
	if took := time.Since(began); took < lastWrites {
		t.Errorf("Close returned after %v, want at least %v", took, lastWrites)
	}
	out.open.Unlock()
	<-w.done
}
