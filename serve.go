package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caarlos0/env/v11"
	"golang.org/x/sys/unix"

	"nowd/clock"
	"nowd/health"
	"nowd/reactor"
	"nowd/socket"
	"nowd/tcp"
	"nowd/upstream"
)

// service is a running nowd.
type service struct {
	config
	log         *slog.Logger
	clock       *clock.Clock
	offers      []*offer
	workers     []*worker
	sources     *tcp.Sources // nil for no cap
	endpoints   []*endpoint
	healthAddrs []netip.AddrPort
	stopping    atomic.Bool
}

// serve runs until it is told to stop.
func serve(environ []string, stderr io.Writer) int {
	c, err := loadConfig(environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	log := newLogger(c, stderr)
	for _, name := range unknown(environ) {
		log.Warn("no such setting", "variable", name)
	}
	if zone := strings.TrimPrefix(env.ToMap(environ)["TZ"], ":"); zone != "" {
		if _, err := time.LoadLocation(zone); err != nil {
			log.Warn("unknown time zone, so local time is UTC", "TZ", zone)
		}
	}
	hostClock, err := c.newClock()
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	s := &service{config: c, log: log, clock: hostClock}
	if err := s.build(); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	// Before anything is announced, so that no signal finds us unprepared; until
	// here one ends us as it ends any process.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	_, _ = time.Now().Zone() // has the zone's file read, if it was not
	if err := s.confine(); err != nil {
		log.Warn("cannot give up what is not needed", "error", err)
	}
	return s.run(signals)
}

func newLogger(c config, w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// build makes the loops, and has them open their sockets when they run.
func (s *service) build() error {
	// A loop that waits in the kernel keeps its right to run Go code, unless
	// others need it. With one to spare nobody takes it away in every wait, for
	// the loop to get it back with the scheduler's lock.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), int(s.Loops)+1))
	s.offers = s.offered()
	s.fit()
	if s.MaxPerSource != 0 {
		s.sources = tcp.NewSources(int(s.MaxPerSource))
	}
	for i := range int(s.Loops) {
		loop, err := reactor.New(reactor.Config{Poller: s.Poller, Logger: s.log})
		if err != nil {
			return err
		}
		s.workers = append(s.workers, s.newWorker(loop, i))
	}
	for _, o := range s.offers {
		addrs, err := o.addrs()
		if err != nil {
			return fmt.Errorf("%s=%q: %w", o.variable, o.listen, err)
		}
		for _, addr := range addrs {
			e := &endpoint{service: s, offer: o, addr: addr, optional: len(addrs) > 1 && addr.Addr().Is6(), close: make([]func(), len(s.workers))}
			e.fail(errors.New("not opened yet"))
			s.endpoints = append(s.endpoints, e)
			s.workers[0].loop.Prepare(e.open)
		}
	}
	var err error
	if s.healthAddrs, err = s.Health.addrs(); err != nil {
		return fmt.Errorf("NOWD_HEALTH_LISTEN=%q: %w", s.Health, err)
	}
	return s.collisions()
}

// collisions finds addresses that are given to two, now that names are looked
// up.
func (s *service) collisions() error {
	type place struct {
		*offer
		addr netip.AddrPort
	}
	var taken []place
	for _, e := range s.endpoints {
		taken = append(taken, place{e.offer, e.addr})
	}
	health := s.healthOffer()
	for _, addr := range s.healthAddrs {
		taken = append(taken, place{health, addr})
	}
	for i, p := range taken {
		for _, q := range taken[:i] {
			if p.offer != q.offer && p.network == q.network && overlap(p.addr, q.addr) {
				return fmt.Errorf("%s=%q: %v is %s's already", p.variable, p.listen, p.addr, q.variable)
			}
		}
	}
	return nil
}

// fit lowers the cap on connections to what the process may have open, less
// what the rest of it needs: the health endpoint must not go without because
// of clients.
func (s *service) fit() {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		s.log.Warn("the limit of open files is not known", "error", err)
		return
	}
	files := int(min(limit.Cur, 1<<30))
	if s.Poller == "select" {
		files = min(files, unix.FD_SETSIZE)
	}
	loops, servers, sockets := int(s.Loops), 0, 0
	for _, o := range s.offers {
		if o.network == socket.TCP {
			servers++
		}
		if sockets++; o.host == "" {
			sockets++ // of IPv6
		}
	}
	if servers == 0 {
		return
	}
	// Each loop has its poller, its wake-up, its sockets, and for each TCP server
	// one in reserve; the rest is for the health endpoint and what is open anyway.
	fixed := loops*(3+sockets+servers) + 64
	if fixed > files*3/4 {
		s.log.Warn("so few files may be open that probes may find none left", "files", files, "needed", fixed)
	}
	free := max(files-fixed, files/4)
	most := min(s.MaxConns, max(files, loops))
	for most+servers*loops*tcp.Lingering(most/loops) > free && most > loops {
		most--
	}
	if most < s.MaxConns {
		s.log.Warn("fewer connections than NOWD_TCP_MAX_CONNS, for no more files may be open", "connections", most, "files", files)
		s.MaxConns = most
	}
}

// run runs the loops until a signal comes, and ends them. A second signal ends
// the process at once.
func (s *service) run(signals <-chan os.Signal) int {
	s.log.Info("starting", "version", versionString(), "loops", int(s.Loops), "poller", s.Poller)
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
	endHealth := s.serveHealth(ctx)
	if len(s.Upstream) > 0 {
		checker := upstream.New(upstream.Config{Servers: s.Upstream, Interval: s.UpstreamInterval, Clock: s.clock, Logger: s.log})
		running.Go(func() { checker.Run(ctx) })
	}

	select {
	case err := <-failed:
		s.log.Error("cannot go on", "error", err)
		return 1
	case got := <-signals:
		s.log.Info("stopping", "signal", got.String())
	}
	go s.hurry(signals)

	s.stopping.Store(true)
	time.Sleep(s.DrainDelay)
	s.drain()
	for _, w := range s.workers {
		w.loop.Stop()
	}
	cancel()
	running.Wait()
	for _, w := range s.workers {
		_ = w.loop.Close()
	}
	endHealth()
	s.log.Info("stopped")
	return 0
}

// sameSignal is how long another signal counts as the first one: some programs
// send it to the process and, at once, to its group as well.
const sameSignal = 100 * time.Millisecond

// hurry ends the process at once when another signal comes.
func (s *service) hurry(signals <-chan os.Signal) {
	first := time.Now()
	for got := range signals {
		if time.Since(first) >= sameSignal {
			s.log.Warn("stopping at once", "signal", got.String())
			os.Exit(128 + int(got.(syscall.Signal)))
		}
	}
}

// stop has a loop answer what it owes, and calls stopped when it has.
func (s *service) stop(i int, stopped func()) {
	w := s.workers[i]
	w.loop.Post(func() {
		left := 1
		done := func() {
			if left--; left == 0 {
				stopped()
			}
		}
		for _, e := range s.endpoints {
			if e.offer.network == socket.UDP && e.close[i] != nil {
				e.close[i]()
			}
		}
		for _, one := range w.servers {
			if c, ok := one.(connections); ok {
				left++
				c.server.Shutdown(done)
			}
		}
		done()
	})
}

// drain waits until all loops have given the answers that they owe.
func (s *service) drain() {
	stopped := make(chan struct{}, len(s.workers))
	for i := range s.workers {
		s.stop(i, func() { stopped <- struct{}{} })
	}
	late := time.NewTimer(s.ShutdownTimeout)
	defer late.Stop()
	for range s.workers {
		select {
		case <-stopped:
		case <-late.C:
			s.log.Warn("some clients did not take their answers in time")
			return
		}
	}
}

// serveHealth serves /live, /ready and /metrics until ctx ends. What it returns
// waits for its end.
func (s *service) serveHealth(ctx context.Context) (wait func()) {
	server := health.Server(s.health(), s.log)
	var running sync.WaitGroup
	for _, addr := range s.healthAddrs {
		running.Go(func() {
			if l := s.listenHealth(ctx, addr); l != nil {
				_ = server.Serve(l) // until it is shut down
			}
		})
	}
	return func() {
		brief, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if server.Shutdown(brief) != nil {
			_ = server.Close()
		}
		running.Wait()
	}
}

// listenHealth listens at addr, as soon as it is free.
func (s *service) listenHealth(ctx context.Context, addr netip.AddrPort) net.Listener {
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	for again := time.Duration(0); ; {
		l, err := net.Listen(network, addr.String())
		switch {
		case err == nil:
			s.log.Info("listening", "protocol", "health", "address", addr.String())
			return l
		case len(s.healthAddrs) > 1 && addr.Addr().Is6() && noIPv6(err):
			return nil
		case again == 0:
			s.log.Warn("cannot listen; trying again until it works", "error", err)
		}
		again = min(max(firstRetry, 2*again), lastRetry)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(again):
		}
	}
}

func (s *service) health() http.Handler {
	metrics := health.NewMetrics(s.clock, versionString())
	var loops []*reactor.Loop
	for _, w := range s.workers {
		loops = append(loops, w.loop)
		metrics.AddLoop(w.loop)
	}
	for i, o := range s.offers {
		var traffic []health.Traffic
		for _, w := range s.workers {
			traffic = append(traffic, w.servers[i].traffic())
		}
		metrics.AddTraffic(o.name, traffic)
	}

	checks := []health.Check{{Name: "shutdown", Check: func() error {
		if s.stopping.Load() {
			return errors.New("shutting down")
		}
		return nil
	}}}
	for _, e := range s.endpoints {
		checks = append(checks, health.Check{Name: e.String(), Check: e.check})
	}
	if s.RequireSync {
		checks = append(checks, health.Check{Name: "clock", Check: s.checkClock})
	}
	return health.Handler(health.NewLoops(s.LivenessTimeout, loops), checks, metrics)
}

func (s *service) checkClock() error {
	now := s.clock.Now()
	q := s.clock.Quality(now)
	bound, ok := q.Error(now)
	switch {
	case q.Trusted(now, s.ClockMaxError):
		return nil
	case q.Err != nil:
		return q.Err
	case q.Contradicted():
		return errors.New("the clock is not what the upstream says")
	case !ok || !q.Synced():
		return errors.New("the clock is not synchronised")
	default:
		return fmt.Errorf("the clock may be off by %v, more than %v", bound, s.ClockMaxError)
	}
}
