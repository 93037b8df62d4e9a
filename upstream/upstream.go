// Package upstream checks the host's clock against NTP servers. It never sets the clock.
// The result is a clock.Measurement: it narrows the clock's error bound, or contradicts
// the kernel.
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
	Servers  []string      // host:port, or host for port 123; one address of each name is asked, and each address counts once
	Interval time.Duration // poll interval, with up to 10 % of jitter
	Clock    *clock.Clock
	Logger   *slog.Logger
}

// Checker checks a clock against servers. All work happens in Run.
type Checker struct {
	Config
	servers      []*server
	measured     bool // a round had a majority
	disagreed    bool // the last round with answers had no majority
	contradicted bool // after the last round, the servers contradicted the kernel

	timeout time.Duration // of one look-up, and of one exchange
	resolve func(ctx context.Context, address string) (netip.AddrPort, error)
}

// validRounds is the number of poll intervals for which a measurement is valid.
const validRounds = 8

// New returns a Checker. It sends nothing before Run.
func New(c Config) *Checker {
	k := &Checker{Config: c, timeout: 3 * time.Second, resolve: ntp.Resolve}
	for _, address := range slices.Compact(slices.Sorted(slices.Values(c.Servers))) {
		k.servers = append(k.servers, &server{address: address})
	}
	return k
}

// Run asks all servers concurrently once per poll interval, until ctx is done. When it
// returns, all goroutines that it started have ended.
func (k *Checker) Run(ctx context.Context) {
	for retry := firstRetry; ; retry = min(2*retry, k.Interval) {
		k.round(ctx)
		pause := k.Interval
		if !k.measured {
			pause = min(pause, retry) // at start, the network may not be up yet
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

// firstRetry is the pause after the first round if it had no majority. Each further pause
// is twice as long, up to Interval, until a round has a majority.
const firstRetry = 2 * time.Second

// jitter returns d with a random change of at most 10 %, so that Checkers that were started
// at the same time do not keep asking at the same time.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// round asks every server once, and sets the clock's measurement to that of the majority.
func (k *Checker) round(ctx context.Context) {
	k.lookUp(ctx)
	servers := distinct(k.servers, k.Logger)
	k.ask(ctx, servers)
	if ctx.Err() != nil {
		return // the errors come from ctx
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

// lookUp looks up all servers concurrently.
func (k *Checker) lookUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	var resolving sync.WaitGroup
	for _, s := range k.servers {
		resolving.Go(func() { s.resolve(ctx, k.resolve) })
	}
	resolving.Wait()
}

// ask asks the servers that are due, concurrently.
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

// logContradiction logs whether the servers contradict the kernel, once per change.
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
		k.Logger.Warn("the measurement of the time servers has expired; they no longer contradict the kernel")
	}
}
