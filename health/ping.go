package health

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Loop is an event loop that can be pinged: *reactor.Loop.
type Loop interface {
	// Post runs f on the loop, between two handlers. It reports false if the loop
	// has ended.
	Post(f func()) bool
	// Thread returns the id of the thread that calls the handlers, 0 while there is
	// none, or a negative number if threads have no ids.
	Thread() int
}

// A loop hangs if it leaves a ping unanswered for the time-out, and one of these
// holds. The loop answers between two handlers, so both are about one handler:
// neither load nor a lack of CPU time is taken for a handler that does not end.
const (
	// maxRunCPU is how much CPU time the loop's thread may use after a ping without
	// answering it. A handler is meant to use less than a millisecond.
	maxRunCPU = 250 * time.Millisecond

	// maxBlocked is how long the loop's thread may be blocked after a ping. It does
	// not count while the process gets no CPU time.
	maxBlocked = 500 * time.Millisecond

	// giveUp is how long after the time-out an unanswered ping counts as a hang, with
	// or without evidence.
	giveUp = 20 * time.Second

	// sampleInterval is how often the thread of a loop that has not answered yet is
	// looked at.
	sampleInterval = 10 * time.Millisecond
)

// Loops checks whether event loops are alive, by a ping to each. A loop does nothing
// for it until it is asked. Loops is safe for concurrent use.
type Loops struct {
	timeout time.Duration
	observe func(thread int) (activity, error)
	pings   []*ping
}

// NewLoops returns the check of loops. None of them counts as hung before it has left
// a ping unanswered for timeout.
func NewLoops[L Loop](timeout time.Duration, loops []L) *Loops {
	c := &Loops{timeout: timeout, observe: observe}
	for _, l := range loops {
		c.pings = append(c.pings, &ping{loop: l})
	}
	return c
}

// Check pings all loops at once. If some hang, it returns an error that names them
// and matches ErrNoAnswer.
func (c *Loops) Check() error {
	errs := make([]error, len(c.pings))
	var checks sync.WaitGroup
	for i, p := range c.pings {
		checks.Go(func() {
			if err := c.check(p); err != nil {
				errs[i] = fmt.Errorf("loop %d: %w", i, err)
			}
		})
	}
	checks.Wait()
	return errors.Join(errs...)
}

// ErrNoAnswer is the error of loops that do not answer.
var ErrNoAnswer = errors.New("no answer")

// check pings one loop. It returns nil when the loop has answered, and an error when
// it hangs. While the loop has not answered and shows no sign of a hang, check waits.
func (c *Loops) check(p *ping) error {
	answer := p.send()
	if answer == nil {
		return fmt.Errorf("%w: it has ended", ErrNoAnswer)
	}
	sample := time.NewTicker(sampleInterval)
	defer sample.Stop()
	for start := time.Now(); ; {
		select {
		case <-answer:
			return nil
		case <-sample.C:
		}
		waited, evidence := p.sample(answer, c.observe)
		if evidence == "" && time.Since(start) >= c.timeout+giveUp {
			evidence = "not known why"
		}
		if evidence == "" || waited < c.timeout {
			continue
		}
		select { // an answer that came meanwhile counts
		case <-answer:
			return nil
		default:
			return fmt.Errorf("%w for %v: %s", ErrNoAnswer, waited.Round(time.Millisecond), evidence)
		}
	}
}

// ping is the last ping of one loop. While it is unanswered, no other is sent, so
// that pings do not pile up at a loop that hangs. Probes that come meanwhile share
// it, and what has been seen since it was sent.
type ping struct {
	loop Loop

	mu     sync.Mutex
	answer chan struct{} // closed by the loop; nil before the first ping
	sent   time.Time
	watch  watch // of the loop's thread since then
}

// send sends a ping, unless one is unanswered, and returns the channel that the loop
// closes to answer. It returns nil if the loop has ended.
func (p *ping) send() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answer != nil {
		select {
		case <-p.answer:
		default:
			return p.answer
		}
	}
	answer := make(chan struct{})
	p.watch, p.sent = watch{}, time.Now()
	if !p.loop.Post(func() { close(answer) }) {
		return nil
	}
	p.answer = answer
	return answer
}

// sample looks at the loop's thread. It returns how long the ping with this answer
// has been waiting, and what shows that the loop hangs, or "" if nothing does.
func (p *ping) sample(answer <-chan struct{}, observe func(thread int) (activity, error)) (waited time.Duration, evidence string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if answer != p.answer {
		return 0, "" // answered, and another has been sent since
	}
	now := time.Now()
	waited = now.Sub(p.sent)
	if now.Sub(p.watch.at) < sampleInterval/2 { // another probe has just looked
		return waited, p.watch.evidence
	}
	thread := p.loop.Thread()
	if thread == 0 {
		p.watch = watch{} // no handler is running
		return waited, ""
	}
	a, err := observe(thread)
	if thread != p.loop.Thread() {
		p.watch = watch{}
		return waited, ""
	}
	if err != nil {
		return waited, "its thread cannot be observed"
	}
	p.watch.add(now, thread, a)
	return waited, p.watch.evidence
}

// activity is what the kernel says of a thread.
type activity struct {
	cpu     time.Duration // the CPU time that it has used
	blocked bool          // it neither runs nor is ready to run
}

// watch is what has been seen of a loop's thread since a ping. Its zero value has
// seen nothing.
type watch struct {
	thread  int
	first   activity
	last    activity
	at      time.Time     // of last
	blocked time.Duration // for how long it has been blocked now

	evidence string // what shows that the loop hangs, or ""
}

// add adds what is seen now.
//
// A thread that waits for CPU time is not blocked, and uses none, so it shows
// nothing. It may be asleep while Go's scheduler is short of CPU time, though. So the
// time between two samples counts as blocked for two intervals at most: if the
// process gets no CPU time there are no samples either.
func (w *watch) add(now time.Time, thread int, a activity) {
	if w.thread != thread {
		*w = watch{thread: thread, first: a, last: a, at: now}
		return
	}
	if a.blocked && w.last.blocked && a.cpu == w.last.cpu {
		w.blocked += min(now.Sub(w.at), 2*sampleInterval)
	} else {
		w.blocked = 0
	}
	w.last, w.at = a, now
	switch used := a.cpu - w.first.cpu; {
	case used >= maxRunCPU:
		w.evidence = fmt.Sprintf("a handler has used %v of CPU time", used.Round(time.Millisecond))
	case w.blocked >= maxBlocked:
		w.evidence = fmt.Sprintf("a handler has been blocked for %v", w.blocked.Round(time.Millisecond))
	default:
		w.evidence = ""
	}
}
