// Package peers measures the clocks of a cluster's members against each other.
//
// Each member measures about √n of the others, on a ring, so that any two are two
// links apart: Offsets. It publishes what it has measured as a Document, at /peers of
// its health endpoint. What follows from all documents together, package skew
// proves.
package peers

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"nowd/clock"
)

// Config is the configuration of a Peers.
type Config struct {
	Members   []string         // host:port; each address that a name stands for is a member
	Listening []netip.AddrPort // where this host serves NTP
	Node      string           // the name of this host, for people
	Interval  time.Duration    // between two rounds, give or take a tenth
	Clock     *clock.Clock
	Logger    *slog.Logger
}

// Peers measures other members' clocks, and publishes the links as a Document. The
// caller of Run measures; any goroutine may call Document and ServeHTTP.
type Peers struct {
	Config
	resolver resolver
	logged   string // the error of looking up names that was logged last

	mu      sync.Mutex
	own     []netip.AddrPort // this member's addresses
	others  []netip.AddrPort // all other members
	links   map[netip.AddrPort]*measurement
	history history
}

const (
	// validRounds is how many intervals a link is of use for.
	validRounds = 8

	// concurrent is how many members are measured at a time. More would wait for
	// each other, which makes round trips longer.
	concurrent = 4

	// firstRetry is the pause after the first round if no other member is known.
	// Each further pause is twice as long, up to the interval.
	firstRetry = time.Second

	// readingInterval is how often the clock's steering is read. Between two
	// readings it is taken not to have been moved back and forth.
	readingInterval = time.Second
)

// New returns a Peers. It sends nothing before Run.
func New(c Config) *Peers {
	p := &Peers{Config: c, resolver: resolver{names: c.Members}, links: make(map[netip.AddrPort]*measurement)}
	p.closeWindow() // the history begins before anybody can measure this host
	return p
}

// Run measures in each interval, until ctx is done. When it returns, all
// goroutines that it started have ended.
func (p *Peers) Run(ctx context.Context) {
	var reading sync.WaitGroup
	reading.Go(func() { p.readSteering(ctx) })
	defer reading.Wait()
	for retry := firstRetry; ; retry = min(2*retry, p.Interval) {
		began := time.Now()
		pause := jitter(p.Interval)
		if alone := !p.round(ctx); alone {
			pause = min(pause, retry) // the name may not be known yet
		}
		timer := time.NewTimer(pause - time.Since(began))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// jitter returns d, give or take a tenth, so that members that were started at
// the same time do not all measure at the same time.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// readSteering reads the clock's steering time and again, until ctx is done.
func (p *Peers) readSteering(ctx context.Context) {
	ticker := time.NewTicker(readingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			p.mu.Lock()
			p.history.read(p.Clock)
			p.mu.Unlock()
		}
	}
}

// closeWindow ends a window of the history. What a round measures lies within one.
func (p *Peers) closeWindow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history.close(p.Clock, (validRounds+2)*p.Interval)
}

// round looks up the members, and measures those that are this one's to measure.
// It measures them as close together as it can: for what follows about two
// members that it has measured, it counts how much time passed in between. It
// reports whether there is any other member.
func (p *Peers) round(ctx context.Context) (others bool) {
	targets := p.update(ctx)
	p.closeWindow()
	next := make(chan netip.AddrPort)
	var workers sync.WaitGroup
	for range min(concurrent, len(targets)) {
		workers.Go(func() {
			for member := range next {
				p.measure(ctx, member)
			}
		})
	}
	for _, member := range targets {
		next <- member
	}
	close(next)
	workers.Wait()
	p.closeWindow()
	return len(targets) > 0
}

// update looks up the members and returns whom to measure. It forgets links to
// those that are no members any more, or that have expired.
func (p *Peers) update(ctx context.Context) (targets []netip.AddrPort) {
	members, err := p.resolver.resolve(ctx)
	var own []netip.AddrPort
	if len(members) > 0 {
		var e error
		if own, e = ownAddresses(members, p.Listening); e != nil {
			err = e
		}
	}
	p.logProblem(ctx, err)
	if len(own) == 0 && len(members) > 0 { // others may know this host all the same
		if source, ok := sourceFor(members[0], p.Listening); ok {
			own = append(own, source)
			members = append(members, source)
		}
	}
	others := slices.DeleteFunc(slices.Clone(members), func(m netip.AddrPort) bool { return slices.Contains(own, m) })
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(others) != len(p.others) {
		p.Logger.Info("members of the cluster", "count", len(others)+min(1, len(own)), "own", own)
	}
	p.own, p.others = own, others
	now := p.Clock.Unsteered()
	for member, m := range p.links {
		if _, ok := slices.BinarySearchFunc(others, member, netip.AddrPort.Compare); !ok || p.expired(m, now) {
			delete(p.links, member)
		}
	}
	return newRing(members).targets(own)
}

// expired reports whether m is of use no more at now, on clock.Unsteered.
func (p *Peers) expired(m *measurement, now time.Duration) bool {
	return now-m.begin > validRounds*p.Interval
}

// logProblem logs why members cannot be found, once per change.
func (p *Peers) logProblem(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == p.logged || ctx.Err() != nil {
		return
	}
	if p.logged = text; err != nil {
		p.Logger.Warn("cannot find all members of the cluster; going on with those that are known", "error", err)
	} else {
		p.Logger.Info("all members of the cluster are found again")
	}
}

// measure measures a member, and keeps the result as the link to it.
func (p *Peers) measure(ctx context.Context, member netip.AddrPort) {
	m, err := measure(ctx, p.Clock, member)
	if err != nil {
		if ctx.Err() == nil {
			p.Logger.Debug("cannot measure a member of the cluster", "member", member, "error", err)
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links[member] = m
}

// Document returns what this member publishes now. Any goroutine may call it.
func (p *Peers) Document() *Document {
	claim := claimOf(p.Clock)
	p.mu.Lock()
	defer p.mu.Unlock()
	steered, now := p.history.document(p.Clock)
	d := &Document{
		Version: Version, Node: p.Node, Interval: p.Interval, Claim: claim,
		Addresses: append([]netip.AddrPort{}, p.own...), Members: append([]netip.AddrPort{}, p.others...), // never null
		Links: []Link{}, Steered: steered,
	}
	if len(p.Listening) > 0 {
		d.Port = p.Listening[0].Port()
	}
	for member, m := range p.links {
		if p.expired(m, now) {
			continue
		}
		d.Links = append(d.Links, Link{
			Member: member, OffsetMin: m.offset.Low, OffsetMax: m.offset.High,
			Age: now - m.begin, Took: m.end - m.begin, Claim: m.claim, Own: m.own,
		})
	}
	slices.SortFunc(d.Links, func(a, b Link) int { return a.Member.Compare(b.Member) })
	return d
}

// ServeHTTP implements http.Handler: it answers with the Document, as JSON.
func (p *Peers) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(p.Document())
}
