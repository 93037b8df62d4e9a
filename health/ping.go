package health

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Loop is an event loop, as far as its health goes.
type Loop interface {
	// Post runs f on the loop, or reports false if the loop has ended.
	Post(f func()) bool
}

// Loops tells whether loops are alive. It asks them: a loop that nobody asks
// has nothing to do for it.
type Loops struct {
	timeout time.Duration
	pings   []*ping
}

// NewLoops returns the check of loops, each of which has this long to answer.
func NewLoops[L Loop](timeout time.Duration, loops []L) *Loops {
	c := &Loops{timeout: timeout}
	for _, l := range loops {
		c.pings = append(c.pings, &ping{loop: l})
	}
	return c
}

// Check asks all loops at once and returns an error that names those that have
// not answered in time. It may be called from any goroutine.
func (c *Loops) Check() error {
	answers := make([]<-chan struct{}, len(c.pings))
	for i, p := range c.pings {
		answers[i] = p.send()
	}
	late, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	var silent []string
	for i, answer := range answers {
		if !came(answer, late) {
			silent = append(silent, fmt.Sprintf("loop %d", i))
		}
	}
	if silent == nil {
		return nil
	}
	return fmt.Errorf("%s: %w within %v", strings.Join(silent, ", "), ErrSilent, c.timeout)
}

// came waits for an answer. One that is there counts, however late it is.
func came(answer <-chan struct{}, late context.Context) bool {
	if answer == nil {
		return false
	}
	select {
	case <-answer:
		return true
	case <-late.Done():
	}
	select {
	case <-answer:
		return true
	default:
		return false
	}
}

// ErrSilent is the error of loops that do not answer.
var ErrSilent = errors.New("no answer")

// ping is the question that one loop has been asked last. While it is not
// answered none is added to it, so a loop that is stuck does not collect them.
type ping struct {
	loop Loop

	mu      sync.Mutex
	pending chan struct{} // closed by the answer; nil before the first
}

// send returns what is closed when the loop answers, or nil if it has ended.
func (p *ping) send() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending != nil {
		select {
		case <-p.pending:
		default:
			return p.pending
		}
	}
	answer := make(chan struct{})
	if !p.loop.Post(func() { close(answer) }) {
		return nil
	}
	p.pending = answer
	return answer
}
