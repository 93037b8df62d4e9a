package service

import (
	"bytes"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxUnwritten is an upper bound on the bytes of the lines that wait to be
	// written.
	maxUnwritten = 64 << 10
	// lastWrites is how long Close waits for them.
	lastWrites = 200 * time.Millisecond
)

// LogWriter writes the lines of a log. Write never waits for the reader of the
// log: it puts the line into a bounded queue, which a goroutine of the LogWriter
// writes out in order, one line in each call. A line that finds the queue full,
// or that cannot be written, is dropped. The next line that is written comes
// after one that says how many were dropped.
type LogWriter struct {
	out       io.Writer
	newLogger func(io.Writer) *slog.Logger // for the line that reports drops
	wake      chan struct{}                // the queue has grown, or the writer is closed
	done      chan struct{}                // the goroutine has ended
	total     atomic.Uint64                // lines that were dropped

	mu     sync.Mutex
	queue  []entry
	size   int // bytes in the queue
	closed bool

	// For the goroutine only.
	dropped int  // lines that are not reported yet
	partial bool // what was written last is a part of a line
}

// entry is a line, or in its place a number of lines that were dropped.
type entry struct {
	line    []byte
	dropped int
}

// NewLogWriter returns a LogWriter that writes to out. newLogger makes the logger
// that reports drops; it has the format of the log.
func NewLogWriter(out io.Writer, newLogger func(io.Writer) *slog.Logger) *LogWriter {
	w := &LogWriter{out: out, newLogger: newLogger, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// Write queues a whole line, as slog's handlers write a record. It always returns
// len(line) and nil.
func (w *LogWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return len(line), nil
	}
	n := len(w.queue)
	dropping := n > 0 && w.queue[n-1].dropped > 0
	room := maxUnwritten - w.size
	if dropping { // until half of the queue is free, so that reports stay few
		room -= maxUnwritten / 2
	}
	switch {
	case len(line) <= room:
		w.queue = append(w.queue, entry{line: bytes.Clone(line)})
		w.size += len(line)
	case dropping:
		w.queue[n-1].dropped++
		w.total.Add(1)
	default:
		w.queue = append(w.queue, entry{dropped: 1})
		w.total.Add(1)
	}
	w.signal()
	return len(line), nil
}

// Dropped returns the number of lines that were dropped since the LogWriter was made,
// reported or not. Any goroutine may call it.
func (w *LogWriter) Dropped() uint64 { return w.total.Load() }

// Close ends the LogWriter. It waits until all lines are written, but at most
// lastWrites: a write that hangs goes on hanging until the process ends. Lines
// that come later are discarded.
func (w *LogWriter) Close() {
	w.mu.Lock()
	w.closed = true
	w.signal()
	w.mu.Unlock()
	timeout := time.NewTimer(lastWrites)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-timeout.C:
	}
}

// signal wakes run. It never waits.
func (w *LogWriter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes what is queued, until the LogWriter is closed and nothing is left.
func (w *LogWriter) run() {
	defer close(w.done)
	for range w.wake {
		for e, ok := w.next(); ok; e, ok = w.next() {
			w.write(e)
		}
		if w.ended() {
			return
		}
	}
}

// next dequeues an entry. The size of its line counts no more.
func (w *LogWriter) next() (e entry, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.queue = nil // what a flood has left is garbage
		return entry{}, false
	}
	e = w.queue[0]
	w.queue[0] = entry{}
	w.queue = w.queue[1:]
	w.size -= len(e.line)
	return e, true
}

// ended reports whether nothing is left to write, and nothing will come.
func (w *LogWriter) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed && len(w.queue) == 0
}

// write writes a line, and before it how many were dropped.
func (w *LogWriter) write(e entry) {
	w.dropped += e.dropped
	if w.dropped > 0 {
		var report bytes.Buffer
		// An error, since what was dropped may have been one, at any level.
		w.newLogger(&report).Error("log lines were dropped", "count", w.dropped)
		if w.put(report.Bytes()) {
			w.dropped = 0
		}
	}
	if e.line != nil && (w.dropped > 0 || !w.put(e.line)) {
		w.dropped++
		w.total.Add(1)
	}
}

// put writes a whole line, and reports whether it was written.
func (w *LogWriter) put(line []byte) bool {
	if w.partial { // the next line is not to continue it
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.out.Write(line)
	if n > 0 {
		w.partial = n < len(line)
	}
	return err == nil
}
