// Package upstream checks the host's clock against NTP servers. It never sets
// the clock: what the servers say becomes a clock.Measurement, and the clock
// then narrows its error bound or is contradicted.
package upstream

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"nowd/clock"
	"nowd/ntp"
)

// Config is the configuration of a Checker.
type Config struct {
	Servers  []string      // host:port, or host for port 123; of a name's addresses one is asked, and each address counts once
	Interval time.Duration // poll interval, give or take a tenth
	Clock    *clock.Clock
	Logger   *slog.Logger
}

// Checker checks a clock against servers. Its goroutine is the caller of Run.
type Checker struct {
	Config
	servers      []*server
	measured     bool // whether any round had a majority yet
	disagreed    bool // whether the last round with answers had no majority
	contradicted bool // whether the servers contradicted the kernel after the last round

	timeout time.Duration // of one look-up, and of one exchange
	resolve func(ctx context.Context, address string) (netip.AddrPort, error)
}

// validRounds is how many poll intervals a measurement stays valid.
const validRounds = 8

// New returns a Checker. It sends nothing before Run.
func New(c Config) *Checker {
	k := &Checker{Config: c, timeout: 3 * time.Second, resolve: ntp.Resolve}
	for _, address := range slices.Compact(slices.Sorted(slices.Values(c.Servers))) {
		k.servers = append(k.servers, &server{address: address})
	}
	return k
}

// Run asks all servers at once in each poll interval, until ctx is done. When it
// returns, all goroutines that it started have ended.
func (k *Checker) Run(ctx context.Context) {
	for retry := firstRetry; ; retry = min(2*retry, k.Interval) {
		k.round(ctx)
		pause := k.Interval
		if !k.measured {
			pause = min(pause, retry) // the network may not be up yet
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

// firstRetry is the pause after the first round if it had no majority. Each
// further pause is twice as long, up to Interval, until a round has one.
const firstRetry = 2 * time.Second

// jitter returns d, give or take a tenth, so that many Checkers that were started
// at the same time do not keep asking at the same time.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// round asks every server once, and sets the clock's measurement to what their
// majority agrees on.
func (k *Checker) round(ctx context.Context) {
	k.lookUp(ctx)
	servers := distinct(k.servers, k.Logger)
	k.ask(ctx, servers)
	if ctx.Err() != nil {
		return // what failed did so because of that
	}
	var measurements []*clock.Measurement
	for _, s := range servers {
		if s.measurement != nil {
			measurements = append(measurements, s.measurement)
		}
	}
	agreed := combine(measurements, len(servers))
	for _, s := range servers {
		s.judge(k.Logger, agreed)
	}
	if len(measurements) > 0 {
		k.logMajority(agreed != nil)
	}
	if agreed != nil {
		k.measured = true
		agreed.Life = validRounds * k.Interval
		k.Clock.SetMeasurement(*agreed)
	}
	k.logContradiction()
}

// lookUp looks all servers up at once.
func (k *Checker) lookUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	var resolving sync.WaitGroup
	for _, s := range k.servers {
		resolving.Go(func() { s.resolve(ctx, k.resolve) })
	}
	resolving.Wait()
}

// ask asks at once those of the servers that are due.
func (k *Checker) ask(ctx context.Context, servers []*server) {
	var asking sync.WaitGroup
	for _, s := range servers {
		s.measurement, s.err = nil, nil
		if !s.due() {
			continue
		}
		if s.err = s.unresolved; s.err == nil {
			asking.Go(func() { s.measurement, s.err = measure(ctx, s, k.Clock, k.timeout) })
		}
	}
	asking.Wait()
}

// logMajority logs whether a majority of the servers agrees, once per change.
func (k *Checker) logMajority(agrees bool) {
	if agrees != k.disagreed {
		return
	}
	k.disagreed = !agrees
	if agrees {
		k.Logger.Info("a majority of the time servers agrees again")
	} else {
		k.Logger.Warn("no majority of the time servers agrees; the clock is not checked")
	}
}

// logContradiction logs whether the servers contradict the kernel, once per
// change.
func (k *Checker) logContradiction() {
	now := k.Clock.Now()
	q := k.Clock.Quality(now)
	if q.Contradicted() == k.contradicted {
		return
	}
	k.contradicted = !k.contradicted
	m, measured := q.Upstream()
	switch {
	case k.contradicted:
		k.Logger.Warn("the time servers contradict the kernel; the clock is not trusted",
			"server", m.Server, "offset", m.Offset, "bound", m.Bound, "kernel_max_error", q.MaxError, "kernel_offset", q.Offset)
	case measured:
		k.Logger.Info("the time servers agree with the kernel again", "server", m.Server, "offset", m.Offset, "bound", m.Bound)
	default:
		k.Logger.Warn("the time servers no longer contradict the kernel: none has answered for long")
	}
}
