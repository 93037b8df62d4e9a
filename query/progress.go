package query

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Progress is a line on a terminal that says what is waited for, if that takes
// more than a second. It is there only while it is waited, and nowhere but on a
// terminal.
type Progress struct {
	w     *os.File // nil if there is no terminal
	mu    sync.Mutex
	what  string   // nothing is waited for if this is empty
	hosts []string // of which an answer is missing
	since time.Time
	drawn bool
	done  chan struct{}
	ended sync.WaitGroup
}

// NewProgress returns a Progress on w, until Close.
func NewProgress(w io.Writer) *Progress {
	p := &Progress{done: make(chan struct{})}
	if f, ok := w.(*os.File); ok && width(f) > 0 {
		p.w = f
		p.ended.Go(p.run)
	}
	return p
}

// width returns how many columns a terminal has, and 0 if f is none.
// See TIOCGWINSZ(2const).
func width(f *os.File) int {
	c, err := f.SyscallConn()
	if err != nil {
		return 0
	}
	columns := 0
	_ = c.Control(func(fd uintptr) {
		if size, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ); err == nil {
			columns = int(size.Col)
			if columns == 0 { // a terminal that does not know
				columns = 80
			}
		}
	})
	return columns
}

func (p *Progress) run() {
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

// Wait says what is waited for from now on: something, from these hosts if there
// are any.
func (p *Progress) Wait(what string, hosts []*Host) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what, p.since, p.hosts = what, time.Now(), nil
	for _, h := range hosts {
		p.hosts = append(p.hosts, Printable(h.Name))
	}
}

// Came says that the host of that index is no longer waited for.
func (p *Progress) Came(i int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i < len(p.hosts) {
		p.hosts[i] = ""
	}
}

// Hide takes the line away. It is to be called before anything else is shown.
func (p *Progress) Hide() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
	p.what, p.drawn = "", false
}

// Close hides the line, for good.
func (p *Progress) Close() {
	close(p.done)
	p.ended.Wait()
	p.Hide()
}

func (p *Progress) draw() {
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
	// One that is broken into two could not be taken away. The last column stays
	// free, for some terminals go on to the next line when it is written.
	if r, columns := []rune(line), width(p.w); len(r) >= columns && columns > 1 {
		line = string(r[:columns-2]) + "…"
	}
	fmt.Fprint(p.w, "\r\x1b[K"+strings.ToValidUTF8(line, "?"))
	p.drawn = true
}
