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
	// maxUnwritten is an upper bound on the bytes of the queued lines.
	maxUnwritten = 64 << 10
	// lastWrites is how long Close waits for the queued lines to be written.
	lastWrites = 200 * time.Millisecond
)

// LogWriter writes the lines of a log. Write never blocks: it queues the line. A goroutine
// writes the queue in order, one line per call. LogWriter drops a line if the queue is
// full or writing fails, and writes the number of dropped lines before the next line.
type LogWriter struct {
	out       io.Writer
	newLogger func(io.Writer) *slog.Logger // formats the line that reports drops
	wake      chan struct{}                // the queue has grown, or the writer is closed
	done      chan struct{}                // closed when the goroutine has ended
	total     atomic.Uint64                // dropped lines

	mu     sync.Mutex
	queue  []entry
	size   int // bytes in the queue
	closed bool

	// For the goroutine only.
	dropped int  // dropped lines that are not reported yet
	partial bool // the last write ended within a line
}

// entry is a queued line or, where lines were dropped, their number.
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

// Write queues line, a whole line, as the handlers of slog write it. It returns len(line)
// and nil. Any goroutine may call it.
func (w *LogWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return len(line), nil
	}
	n := len(w.queue)
	dropping := n > 0 && w.queue[n-1].dropped > 0
	room := maxUnwritten - w.size
	if dropping { // until half of the queue is free, to keep the reports few
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

// Dropped returns the number of dropped lines, reported or not. Any goroutine may call it.
func (w *LogWriter) Dropped() uint64 { return w.total.Load() }

// Close ends the LogWriter. It waits at most 200 ms until all lines are written: a write
// may hang until the process ends. Write discards lines from now on.
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

// signal wakes run. It never blocks.
func (w *LogWriter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes the queue, until the LogWriter is closed and the queue is empty.
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

// next dequeues an entry.
func (w *LogWriter) next() (e entry, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.queue = nil // frees the memory of a burst
		return entry{}, false
	}
	e = w.queue[0]
	w.queue[0] = entry{}
	w.queue = w.queue[1:]
	w.size -= len(e.line)
	return e, true
}

// ended reports whether the LogWriter is closed and the queue is empty.
func (w *LogWriter) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed && len(w.queue) == 0
}

// write writes the line of an entry. If lines were dropped, it writes their number first.
func (w *LogWriter) write(e entry) {
	w.dropped += e.dropped
	if w.dropped > 0 {
		var report bytes.Buffer
		// At level error: a dropped line may have had any level.
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
	if w.partial { // end the partial line first
		line = append([]byte{'\n'}, line...)
	}
	n, err := w.out.Write(line)
	if n > 0 {
		w.partial = n < len(line)
	}
	return err == nil
}
