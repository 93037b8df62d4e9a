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
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/caarlos0/env/v11"

	"nowd/answer"
	"nowd/clock"
	"nowd/guard"
	"nowd/health"
	"nowd/reactor"
	"nowd/socket"
	"nowd/tcp"
	"nowd/udp"
)

// service is a running nowd.
type service struct {
	config
	log       *slog.Logger
	clock     *clock.Clock
	workers   []*worker
	endpoints []*endpoint
	stopping  atomic.Bool
}

// worker is a loop and what runs on it.
type worker struct {
	loop    *reactor.Loop
	tcp     *tcp.Server
	udp     udp.Config
	sockets []*udp.Server
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
	// Before anything is announced, so that no signal finds us unprepared.
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	s := &service{config: c, log: log, clock: clock.New()}
	if err := s.build(); err != nil {
		fmt.Fprintln(stderr, err)
		return 2
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
	for i := range int(s.Loops) {
		loop, err := reactor.New(reactor.Config{Poller: s.Poller, Logger: s.log})
		if err != nil {
			return err
		}
		s.workers = append(s.workers, s.newWorker(loop, i))
	}
	for _, l := range []struct {
		network socket.Network
		listen
	}{{socket.UDP, s.UDP}, {socket.TCP, s.TCP}} {
		addrs, err := l.addrs()
		if err != nil {
			return err
		}
		for _, addr := range addrs {
			e := &endpoint{service: s, network: l.network, addr: addr, optional: l.host == "" && addr.Addr().Is6()}
			e.fail(errors.New("not opened yet"))
			s.endpoints = append(s.endpoints, e)
			s.workers[0].loop.Prepare(e.open)
		}
	}
	return nil
}

func (s *service) newWorker(loop *reactor.Loop, i int) *worker {
	text := answer.NewText(s.clock, time.Local, s.Format, s.Newline)
	share := s.MaxConns / int(s.Loops)
	if i < s.MaxConns%int(s.Loops) {
		share++
	}
	return &worker{
		loop: loop,
		tcp: tcp.NewServer(loop, tcp.Config{
			Clock:        s.clock,
			Text:         text,
			Framing:      s.Framing,
			MaxConns:     share,
			IdleTimeout:  s.IdleTimeout,
			WriteTimeout: s.WriteTimeout,
			NoDelay:      s.NoDelay,
			Logger:       s.log,
			Counters:     tcp.NewCounters(loop),
		}),
		udp: udp.Config{
			Clock:    s.clock,
			Dialect:  text,
			Guard:    guard.New(guard.Config{Ports: s.ports(), IsAnswer: answer.Own, Limiter: s.limiter()}),
			Logger:   s.log,
			Counters: udp.NewCounters(loop),
		},
	}
}

// limiter returns a loop's own: the datagrams of one socket of a client's all
// arrive at the same loop.
func (s *service) limiter() *guard.Limiter {
	if s.RateLimit == 0 {
		return nil
	}
	return guard.NewLimiter(int(s.RateLimit), s.RateBurst)
}

// ports returns the ports from which we answer datagrams.
func (s *service) ports() []uint16 {
	if s.UDP.off {
		return nil
	}
	return []uint16{s.UDP.port}
}

// endpoint is an address that the loops serve at, each with a socket of its
// own. They are opened together, on the first loop, which tries again until the
// address is free.
type endpoint struct {
	*service
	network  socket.Network
	addr     netip.AddrPort
	optional bool // where there is no IPv6, IPv4 does
	again    time.Duration
	err      atomic.Pointer[error] // why it is not served; nil if it is
}

func (e *endpoint) String() string { return fmt.Sprintf("%v %v", e.network, e.addr) }

func (e *endpoint) fail(err error) { e.err.Store(&err) }

// check is the endpoint's part of being ready.
func (e *endpoint) check() error {
	if err := e.err.Load(); err != nil {
		return *err
	}
	return nil
}

// firstRetry and lastRetry bound the time between two attempts, which doubles.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = time.Second
)

// open is a step of the first loop's preparation.
func (e *endpoint) open() (again time.Duration) {
	if e.stopping.Load() {
		return 0
	}
	fds, err := socket.Open(e.network, e.addr, len(e.workers))
	if err != nil && e.optional && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)) {
		e.log.Debug("no IPv6 on this host", "error", err)
		e.err.Store(nil)
		return 0
	}
	if err != nil {
		if e.again == 0 {
			e.log.Warn("cannot listen; trying again until it works", "error", err)
		}
		e.fail(err)
		e.again = min(max(firstRetry, 2*e.again), lastRetry)
		return e.again
	}
	e.log.Info("listening", "network", e.network.String(), "address", e.addr.String())
	e.err.Store(nil)
	for i, w := range e.workers {
		w.loop.Post(func() {
			if err := w.serve(e.network, fds[i]); err != nil {
				e.log.Error("cannot serve", "endpoint", e.String(), "error", err)
				e.fail(err)
			}
		})
	}
	return 0
}

func (w *worker) serve(network socket.Network, fd int) error {
	if network == socket.TCP {
		return w.tcp.Listen(fd)
	}
	server, err := udp.Serve(w.loop, fd, w.udp)
	if err == nil {
		w.sockets = append(w.sockets, server)
	}
	return err
}

// stop has w answer what it owes, and calls stopped when it has.
func (w *worker) stop(stopped func()) {
	w.loop.Post(func() {
		for _, server := range w.sockets {
			server.Close()
		}
		w.tcp.Shutdown(stopped)
	})
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

	select {
	case err := <-failed:
		s.log.Error("cannot go on", "error", err)
		return 1
	case got := <-signals:
		s.log.Info("stopping", "signal", got.String())
	}
	go func() {
		got := <-signals
		s.log.Warn("stopping at once", "signal", got.String())
		os.Exit(128 + int(got.(syscall.Signal)))
	}()

	s.stopping.Store(true)
	time.Sleep(s.DrainDelay)
	s.drain()
	for _, w := range s.workers {
		w.loop.Stop()
	}
	running.Wait()
	for _, w := range s.workers {
		_ = w.loop.Close()
	}
	cancel()
	endHealth()
	s.log.Info("stopped")
	return 0
}

// drain waits until all loops have given the answers that they owe.
func (s *service) drain() {
	stopped := make(chan struct{}, len(s.workers))
	for _, w := range s.workers {
		w.stop(func() { stopped <- struct{}{} })
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
	addrs, err := s.Health.addrs()
	if err != nil {
		s.log.Error("no health endpoint", "error", err)
	}
	server := health.Server(s.health())
	var running sync.WaitGroup
	for _, addr := range addrs {
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
			s.log.Info("listening", "network", "health", "address", addr.String())
			return l
		case s.Health.host == "" && addr.Addr().Is6() && (errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)):
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
	var overUDP, overTCP []health.Traffic
	for _, w := range s.workers {
		loops = append(loops, w.loop)
		metrics.AddLoop(w.loop)
		overUDP = append(overUDP, w.udp.Counters)
		overTCP = append(overTCP, w.tcp.Counters)
	}
	metrics.AddTraffic("udp", overUDP)
	metrics.AddTraffic("tcp", overTCP)

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
	return health.Handler(health.NewLoops(s.LivenessTimeout, loops), slices.Clip(checks), metrics.Registry())
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
	case !ok || !q.Synced():
		return errors.New("the clock is not synchronised")
	default:
		return fmt.Errorf("the clock may be off by %v, more than %v", bound, s.ClockMaxError)
	}
}
