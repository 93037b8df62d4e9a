// Package service runs nowd: it opens the endpoints of the protocols, runs the event
// loops, and drains and stops them. It has the commands "nowd serve", "nowd wait" and
// "nowd healthcheck".
package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"nowd/answer"
	"nowd/clock"
	"nowd/clockbound"
	"nowd/config"
	"nowd/health"
	"nowd/peers"
	"nowd/reactor"
	"nowd/tcp"
	"nowd/upstream"
)

// Service is a running nowd.
type Service struct {
	config    *config.Config
	version   string
	log       *slog.Logger
	clock     *clock.Clock
	protocols []config.Protocol
	addrs     [][]netip.AddrPort // of each protocol, by its index in protocols
	workers   []*worker
	endpoints []*endpoint
	health    *healthServer
	ntp       *answer.NTP  // nil if NOWD_NTP_LISTEN is off
	driver    *driver      // nil without NOWD_XDP
	peers     *peers.Peers // nil if NOWD_PEERS is off
	low       *lowPorts
	segment   *segment // nil if NOWD_CLOCKBOUND is off

	observed struct { // by the last call of observe
		steps  uint64
		status clockbound.Status
	}

	stopping atomic.Bool // a signal came: /ready fails
	draining atomic.Bool // the drain has begun: failed sockets are not reopened
}

// New returns a service that does not listen yet. log writes to lines. The error names
// the setting that is wrong.
func New(c *config.Config, version string, log *slog.Logger, lines health.LogStats) (*Service, error) {
	s := &Service{config: c, version: version, log: log, protocols: c.Protocols()}
	s.low = &lowPorts{unprivileged: unprivilegedPorts(), drop: func() error { return dropCapabilities(0) }, log: log}
	if err := s.makeClock(); err != nil {
		return nil, err
	}
	if !c.NTP.Off() {
		s.ntp = answer.NewNTP(s.clock, c.NTPStratum, c.NTPRefID)
	}
	if c.XDP.Interface != "" {
		s.driver = &driver{service: s}
	}
	if err := s.lookUp(); err != nil {
		return nil, err
	}
	if err := limitFiles(c); err != nil {
		return nil, err
	}
	files := countFiles(c, s.protocols, s.addrs, s.low)
	if err := files.check(c); err != nil {
		return nil, err
	}
	if err := s.makeWorkers(files.fitConnections(c, log)); err != nil {
		return nil, err
	}
	s.watchSteps()
	if s.segment != nil {
		s.segment.run(s.workers[0].loop)
	}
	s.health = &healthServer{post: s.workers[0].loop.Post}
	if err := s.makeEndpoints(); err != nil {
		return nil, err
	}
	if s.driver != nil {
		if err := s.driver.attach(); err != nil {
			return nil, fmt.Errorf("NOWD_XDP=%q: %w", c.XDP, err)
		}
	}
	if len(c.Peers) > 0 {
		s.peers = s.newPeers()
	}
	s.health.http = health.NewServer(s.healthHandler(lines), log)
	return s, nil
}

// lookUp finds the addresses of each protocol. It resolves the names in the settings.
func (s *Service) lookUp() error {
	for _, p := range s.protocols {
		addrs, err := p.Listen.Addrs()
		if err != nil {
			return fmt.Errorf("%s=%q: %w", p.Setting, p.Listen, err)
		}
		s.addrs = append(s.addrs, addrs)
	}
	return nil
}

// makeClock opens the segment, and makes the clock. The clock starts as disrupted if an
// earlier nowd left the segment with that status.
func (s *Service) makeClock() (err error) {
	if s.segment, err = openSegment(s.config, s.log); err != nil {
		return err
	}
	c := clock.Config{Floor: s.config.ClockErrorFloor, Observe: s.observe}
	c.Disrupted = s.segment != nil && s.segment.foundDisrupted()
	if s.clock, err = newClock(c); err != nil {
		return err
	}
	if s.segment != nil {
		s.segment.clock = s.clock
	}
	return nil
}

// newPeers returns the measurements of the other members of the cluster. The others
// measure this host at the addresses where it serves NTP.
func (s *Service) newPeers() *peers.Peers {
	var listening []netip.AddrPort
	for _, e := range s.endpoints {
		if e.protocol.Dialect == config.NTP {
			listening = append(listening, e.addr)
		}
	}
	return peers.New(peers.Config{
		Members: s.config.Peers, Listening: listening, Node: string(s.config.Node), Interval: s.config.PeersInterval, Clock: s.clock, Logger: s.log,
	})
}

// makeWorkers makes the loops, and on each of them a server for each protocol. maxConns is
// an upper bound on the connections of each protocol.
func (s *Service) makeWorkers(maxConns int) error {
	// While a loop waits in the kernel, the Go scheduler may give its P to another
	// goroutine, and the loop then has to get one back after each wait. With one P more
	// than there are loops this is rare. Setting GOMAXPROCS stops Go from following the
	// container's CPU limit, so set it only if it is too low.
	if n := int(s.config.Loops) + 1; runtime.GOMAXPROCS(0) < n {
		runtime.GOMAXPROCS(n)
	}
	var sources *tcp.Sources
	if s.config.MaxPerSource != 0 {
		sources = tcp.NewSources(int(s.config.MaxPerSource))
	}
	for i := range int(s.config.Loops) {
		loop, err := reactor.New(reactor.Config{Poller: s.config.Poller, Logger: s.log})
		if err != nil {
			return err
		}
		s.workers = append(s.workers, s.newWorker(loop, i, maxConns, sources))
	}
	return nil
}

// makeEndpoints makes an endpoint for each address of each protocol.
func (s *Service) makeEndpoints() error {
	first := s.workers[0].loop
	for i, p := range s.protocols {
		for _, addr := range s.addrs[i] {
			for _, other := range s.endpoints {
				if other.protocol.Name != p.Name && other.protocol.Network == p.Network && config.Overlap(other.addr, addr) {
					return fmt.Errorf("%s=%q: %s has the address %v as well; want another port", p.Setting, p.Listen, other.protocol.Setting, addr)
				}
			}
			e := &endpoint{protocol: p, addr: addr, first: first, log: s.log, draining: &s.draining, changed: s.endpointChanged}
			e.fail(errors.New("not opened yet"))
			if s.low.has(addr.Port()) {
				e.low = s.low
				s.low.pending++
			}
			if p.Dialect == config.Health {
				e.places = []*place{{post: first.Post, server: s.health}}
			} else {
				for _, w := range s.workers {
					e.places = append(e.places, &place{post: w.loop.Post, server: w.servers[i]})
				}
			}
			s.endpoints = append(s.endpoints, e)
			first.Prepare(e.open)
		}
	}
	return nil
}

// Run serves until SIGTERM, SIGINT or SIGHUP. Then it serves for NOWD_DRAIN_DELAY more,
// drains the loops and returns nil. It returns an Interrupted if a second SIGTERM or SIGINT
// comes before it has stopped: the caller must end the process at once. It returns any
// other error if a loop fails.
func (s *Service) Run() error {
	// Catch signals before the first log line: a reader of that line may send one. Run does
	// not release them: a signal while the caller closes the log would change the exit
	// status.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	if !signal.Ignored(syscall.SIGHUP) { // nohup(1) ignores it
		signal.Notify(signals, syscall.SIGHUP)
	}

	_, _ = time.Now().Zone() // loads the zone's file, which confine makes unreadable
	if err := s.confine(); err != nil {
		s.log.Warn("cannot drop privileges", "error", err)
	}
	return s.run(signals)
}

// Interrupted is the error of Run after a second SIGTERM or SIGINT.
type Interrupted struct{ Signal syscall.Signal }

func (i Interrupted) Error() string { return "interrupted: " + i.Signal.String() }

// run runs the loops until a signal comes, and then stops them.
func (s *Service) run(signals <-chan os.Signal) error {
	s.log.Info("starting", "version", s.version, "loops", int(s.config.Loops), "poller", s.config.Poller)
	var running sync.WaitGroup
	failed := make(chan error, len(s.workers))
	for _, w := range s.workers {
		running.Go(func() {
			if err := w.loop.Run(); err != nil {
				failed <- err
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if len(s.config.Upstream) > 0 {
		checker := upstream.New(upstream.Config{Servers: s.config.Upstream, Interval: s.config.UpstreamInterval, Clock: s.clock, Logger: s.log})
		running.Go(func() { checker.Run(ctx) })
	}
	if s.peers != nil {
		running.Go(func() { s.peers.Run(ctx) })
	}

	select {
	case err := <-failed:
		return err
	case got := <-signals:
		s.log.Info("stopping", "signal", got.String())
	}
	s.stopping.Store(true)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		s.stop()
		cancel()
		running.Wait()
		for _, w := range s.workers {
			_ = w.loop.Close()
		}
		if s.segment != nil {
			s.segment.close()
		}
		s.health.close()
	}()
	return s.awaitStop(stopped, signals)
}

// stop waits for NOWD_DRAIN_DELAY, drains the loops, and stops them.
func (s *Service) stop() {
	time.Sleep(s.config.DrainDelay)
	s.draining.Store(true)
	s.drain()
	for _, w := range s.workers {
		w.loop.Stop()
	}
}

// sameSignal is how long further signals count as the first one: timeout(1) signals the
// process, and at the same time its process group.
const sameSignal = 100 * time.Millisecond

// awaitStop returns nil when the service has stopped, or an Interrupted if another signal
// comes before. It ignores SIGHUP: a terminal that hangs up may send it several times.
func (s *Service) awaitStop(stopped <-chan struct{}, signals <-chan os.Signal) error {
	first := time.Now()
	for {
		select {
		case <-stopped:
			s.log.Info("stopped")
			return nil
		case got := <-signals:
			if got != syscall.SIGHUP && time.Since(first) >= sameSignal {
				s.log.Warn("stopping at once", "signal", got.String())
				return Interrupted{got.(syscall.Signal)}
			}
		}
	}
}
