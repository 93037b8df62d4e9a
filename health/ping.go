package health

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Loop is an event loop that can be pinged: *reactor.Loop.
type Loop interface {
	// Post runs f on the loop, between two handlers. It returns false if the loop has
	// ended.
	Post(f func()) bool
	// Thread returns the id of the thread that calls the handlers, 0 while there is no
	// such thread, or a negative number if threads have no ids.
	Thread() int
}

// A loop hangs if it leaves a ping unanswered for the timeout, and one of the limits below
// is exceeded. The loop answers between two handlers, so an unanswered ping is about one
// handler: neither load nor a lack of CPU time counts as a hang.
const (
	// maxRunCPU is how much CPU time the loop's thread may use before it answers a ping.
	// A handler should use less than a millisecond.
	maxRunCPU = 250 * time.Millisecond

	// maxBlocked is how long the loop's thread may be blocked before it answers a ping.
	// Time in which the process gets no CPU does not count.
	maxBlocked = 500 * time.Millisecond

	// giveUp is how long after the timeout an unanswered ping counts as a hang even
	// without evidence.
	giveUp = 20 * time.Second

	// sampleInterval is the time between two samples of a thread while its loop has not
	// answered.
	sampleInterval = 10 * time.Millisecond
)

// Loops checks whether event loops are alive: it sends each a ping. Between two checks it
// costs the loops nothing. Any goroutine may use it.
type Loops struct {
	timeout time.Duration
	observe func(thread int) (activity, error)
	pings   []*ping
}

// NewLoops returns the check of loops. A loop has at least timeout to answer a ping.
func NewLoops[L Loop](timeout time.Duration, loops []L) *Loops {
	c := &Loops{timeout: timeout, observe: observe}
	for _, l := range loops {
		c.pings = append(c.pings, &ping{loop: l})
	}
	return c
}

// Check pings all loops at the same time. If loops hang or have ended, it returns an error
// that names them and wraps ErrNoAnswer.
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

// ErrNoAnswer is the error of a loop that does not answer a ping.
var ErrNoAnswer = errors.New("no answer")

// check pings one loop. It returns nil when the loop answers, and an error if the loop has
// ended or hangs.
func (c *Loops) check(p *ping) error {
	answer := p.send()
	if answer == nil {
		return fmt.Errorf("%w: the loop has ended", ErrNoAnswer)
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
			evidence = "the reason is unknown"
		}
		if evidence == "" || waited < c.timeout {
			continue
		}
		select { // the loop may have answered meanwhile
		case <-answer:
			return nil
		default:
			return fmt.Errorf("%w for %v: %s", ErrNoAnswer, waited.Round(time.Millisecond), evidence)
		}
	}
}

// ping is the last ping to one loop. At most one ping is unanswered, so that they do not pile
// up at a loop that hangs. Concurrent checks share the ping and its samples.
type ping struct {
	loop Loop

	mu     sync.Mutex
	answer chan struct{} // closed by the loop; nil before the first ping
	sent   time.Time
	watch  watch // samples of the loop's thread since then
}

// send sends a ping unless one is unanswered. It returns the channel that the loop closes
// to answer, or nil if the loop has ended.
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

// sample takes a sample of the loop's thread. It returns how long the ping with this answer
// has been unanswered, and the evidence that the loop hangs, or "" if there is none.
func (p *ping) sample(answer <-chan struct{}, observe func(thread int) (activity, error)) (waited time.Duration, evidence string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if answer != p.answer {
		return 0, "" // answered, and another ping was sent
	}
	now := time.Now()
	waited = now.Sub(p.sent)
	if now.Sub(p.watch.at) < sampleInterval/2 { // another check has just taken a sample
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

// activity is the state of a thread.
type activity struct {
	cpu     time.Duration // CPU time used so far
	blocked bool          // it neither runs nor waits for a CPU
}

// watch evaluates the samples of a loop's thread since a ping. The zero value has no
// sample.
type watch struct {
	thread  int
	first   activity
	last    activity
	at      time.Time     // of last
	blocked time.Duration // how long the thread has been blocked without a break

	evidence string // why the loop seems to hang, or ""
}

// add adds a sample.
//
// A thread that waits for a CPU is not blocked and uses no CPU time, so it gives no
// evidence. But a thread may also sleep because Go's scheduler lacks CPU time. So the time
// between two samples counts as blocked for at most two intervals: a process without CPU
// time takes no samples.
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
