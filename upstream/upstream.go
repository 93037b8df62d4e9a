// Package upstream checks the host's clock against NTP servers. It never touches
// the clock: what the servers say becomes a clock.Measurement, and the clock
// then narrows its error bound or calls itself contradicted.
package upstream

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"nowd/clock"
)

// Config says whom to ask, and how often.
type Config struct {
	Servers  []string      // host:port, or host for port 123; of a name's addresses one is asked
	Interval time.Duration // between one round of questions and the next, give or take a tenth
	Clock    *clock.Clock
	Logger   *slog.Logger
}

// Checker asks the servers.
type Checker struct {
	Config
	servers      []*server
	measured     bool // whether there ever was an answer to build upon
	disagreed    bool // whether, in the last round, there was no majority
	contradicted bool

	timeout time.Duration // of one question
}

// lives is how many intervals a measurement is of use.
const lives = 8

// New returns a Checker. It asks nobody before it runs.
func New(c Config) *Checker {
	k := &Checker{Config: c, timeout: 3 * time.Second}
	for _, address := range slices.Compact(slices.Sorted(slices.Values(c.Servers))) {
		k.servers = append(k.servers, &server{address: address})
	}
	return k
}

// Run asks all servers at once, again and again, until ctx is done. Everything
// that it started has ended when it returns.
func (k *Checker) Run(ctx context.Context) {
	for again := firstPause; ; again = min(2*again, k.Interval) {
		k.round(ctx)
		pause := k.Interval
		if !k.measured {
			pause = min(pause, again) // the network may not be up yet
		}
		timer := time.NewTimer(jitter(pause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// firstPause is how soon the servers are asked again if none has answered yet;
// each further pause is twice as long, up to Interval.
const firstPause = 2 * time.Second

// jitter returns d, give or take a tenth, so that many that were started at the
// same time do not go on asking at the same time.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// round asks every server once, and makes known what they say together.
func (k *Checker) round(ctx context.Context) {
	var asking sync.WaitGroup
	for _, s := range k.servers {
		if s.paused() {
			continue
		}
		asking.Go(func() { s.sample, s.err = ask(ctx, s.address, k.Clock, k.timeout) })
	}
	asking.Wait()
	if ctx.Err() != nil {
		return // what failed did so because of that
	}
	var samples []*sample
	for _, s := range k.servers {
		if s.sample != nil {
			samples = append(samples, s.sample)
		}
	}
	best := combine(samples, len(k.servers))
	for _, s := range k.servers {
		s.note(k.Logger, best)
	}
	if len(samples) > 0 {
		k.disagree(best == nil)
	}
	if best != nil {
		k.measured = true
		best.Life = lives * k.Interval
		k.Clock.Measured(best.Measurement)
	}
	k.contradict()
	for _, s := range k.servers {
		s.sample, s.err = nil, nil
	}
}

// disagree logs whether the servers contradict each other, once per change.
func (k *Checker) disagree(is bool) {
	if is != k.disagreed {
		k.disagreed = is
		if is {
			k.Logger.Warn("no majority of the time servers agrees; nothing is learnt from them")
		} else {
			k.Logger.Info("a majority of the time servers agrees again")
		}
	}
}

// contradict logs whether the servers contradict the kernel, once per change.
func (k *Checker) contradict() {
	now := k.Clock.Now()
	q := k.Clock.Quality(now)
	if q.Contradicted() == k.contradicted {
		return
	}
	k.contradicted = !k.contradicted
	m, measured := q.Upstream()
	switch {
	case k.contradicted:
		k.Logger.Warn("the clock is not where its kernel says it is, and not trusted",
			"server", m.Server, "offset", m.Offset, "bound", m.Bound, "kernel_max_error", q.MaxError, "kernel_offset", q.Offset)
	case measured:
		k.Logger.Info("the clock is again where its kernel says it is", "server", m.Server, "offset", m.Offset, "bound", m.Bound)
	default:
		k.Logger.Warn("no time server contradicts the kernel any more, for none has answered for long")
	}
}
