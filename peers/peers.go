// Package peers measures the clocks of a cluster's members against each other.
//
// Each member measures about √n of the others, on a ring, so that any two members are at
// most two links apart: see Offsets. It publishes its measurements as a Document, at /peers
// of its health endpoint. Package skew evaluates all documents together.
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
	Members   []string         // host:port; each address that a name resolves to is a member
	Listening []netip.AddrPort // the addresses that this host's NTP sockets are bound to
	Node      string           // the name of this host, for display
	Interval  time.Duration    // between two rounds, with up to 10 % of jitter
	Clock     *clock.Clock
	Logger    *slog.Logger
}

// Peers measures other members' clocks, and publishes the links as a Document. Run
// measures; any goroutine may call Document and ServeHTTP.
type Peers struct {
	Config
	resolver resolver
	logged   string // the last logged error of a look-up

	mu      sync.Mutex
	own     []netip.AddrPort // this member's addresses
	others  []netip.AddrPort // all other members, sorted
	links   map[netip.AddrPort]*measurement
	history history
}

const (
	// validRounds is the number of intervals after which a link expires.
	validRounds = 8

	// concurrent is the number of members measured at the same time. With more, the
	// exchanges would wait for each other, and the round trips would be longer.
	concurrent = 4

	// firstRetry is the pause after the first round if no other member is known. Each
	// further pause is twice as long, up to the interval.
	firstRetry = time.Second

	// readingInterval is how often the clock's steering is read. A clock that is steered
	// and steered back between two readings goes unnoticed.
	readingInterval = time.Second
)

// New returns a Peers. It sends nothing before Run.
func New(c Config) *Peers {
	p := &Peers{Config: c, resolver: resolver{names: c.Members}, links: make(map[netip.AddrPort]*measurement)}
	p.closeWindow() // the history must begin before others can measure this host
	return p
}

// Run measures once per interval, until ctx is done. When it returns, all goroutines that it
// started have ended.
func (p *Peers) Run(ctx context.Context) {
	var reading sync.WaitGroup
	reading.Go(func() { p.readSteering(ctx) })
	defer reading.Wait()
	for retry := firstRetry; ; retry = min(2*retry, p.Interval) {
		began := time.Now()
		pause := jitter(p.Interval)
		if alone := !p.round(ctx); alone {
			pause = min(pause, retry) // at start, the names may not resolve yet
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

// jitter returns d with a random change of at most 10 %, so that members that were started
// at the same time do not keep measuring at the same time.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// readSteering reads the clock's steering every readingInterval, until ctx is done.
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

// closeWindow closes the current window of the history. Each round is within one window.
func (p *Peers) closeWindow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history.close(p.Clock, (validRounds+2)*p.Interval)
}

// round looks up the members, and measures this member's targets. It measures them within
// a short time: the less time between two measurements, the tighter is the bound on the
// offset between these two members. It reports whether there are any targets.
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

// update looks up the members and returns the targets to measure. It deletes links that have
// expired, and links to former members.
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
	if len(own) == 0 && len(members) > 0 { // other members may already know this host
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

// expired reports whether m has expired at now, a time on clock.Unsteered.
func (p *Peers) expired(m *measurement, now time.Duration) bool {
	return now-m.begin > validRounds*p.Interval
}

// logProblem logs the error of a look-up, once per change.
func (p *Peers) logProblem(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == p.logged || ctx.Err() != nil {
		return
	}
	if p.logged = text; err != nil {
		p.Logger.Warn("cannot look up all members of the cluster; using the known ones", "error", err)
	} else {
		p.Logger.Info("all members of the cluster can be looked up again")
	}
}

// measure measures a member, and stores the result as the link to it.
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

// Document returns this member's current Document. Any goroutine may call it.
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

// ServeHTTP answers with the Document as JSON. Any goroutine may call it.
func (p *Peers) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(p.Document())
}
