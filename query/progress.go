package query

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"nowd/command"
)

// progress is a line on a terminal that says what the command waits for. It appears after a
// second, and is erased before anything else is printed. Any goroutine may call its methods.
type progress struct {
	tty     *os.File // nil without a terminal
	mu      sync.Mutex
	what    string   // what the command waits for; empty for nothing
	hosts   []string // hosts that have not answered; an empty string for each other host
	since   time.Time
	drawn   bool
	done    chan struct{}
	drawing sync.WaitGroup
}

// newProgress returns a progress on w. It shows nothing if w is not a terminal. The caller
// must close it.
func newProgress(w io.Writer) *progress {
	p := &progress{done: make(chan struct{})}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.tty = f
		p.drawing.Go(p.run)
	}
	return p
}

// run draws the line once a second until the progress is closed.
func (p *progress) run() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
			p.draw()
		}
	}
}

// wait sets what the command waits for, and for which hosts, if any.
func (p *progress) wait(what string, hosts []*Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.since, p.hosts = what, time.Now(), nil
	for _, h := range hosts {
		p.hosts = append(p.hosts, command.Printable(h.Name))
	}
}

// finished removes the host with index i from the line.
func (p *progress) finished(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i < len(p.hosts) {
		p.hosts[i] = ""
	}
}

// hide erases the line, until wait is called again.
func (p *progress) hide() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.tty, "\r\x1b[K")
	}
	p.what, p.drawn = "", false
}

// close erases the line for good, and waits for the goroutine that draws it.
func (p *progress) close() {
	close(p.done)
	p.drawing.Wait()
	p.hide()
}

func (p *progress) draw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	waited := time.Since(p.since)
	if p.what == "" || waited < time.Second {
		return
	}
	line := fmt.Sprintf("%v: %s", waited.Truncate(time.Second), p.what)
	for _, name := range p.hosts {
		if name != "" {
			line += " " + name
		}
	}
	// A line that wraps cannot be erased. Leave the last column free: some terminals wrap
	// as soon as it is written.
	if r, columns := []rune(line), columns(p.tty); len(r) >= columns && columns > 1 {
		line = string(r[:columns-2]) + "…"
	}
	fmt.Fprint(p.tty, "\r\x1b[K"+strings.ToValidUTF8(line, "?"))
	p.drawn = true
}

// columns returns the width of a terminal, or 80 if it is unknown.
func columns(tty *os.File) int {
	if width, _, err := term.GetSize(int(tty.Fd())); err == nil && width > 0 {
		return width
	}
	return 80
}
