package service

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"nowd/config"
	"nowd/health"
	"nowd/peers"
	"nowd/reactor"
	"nowd/socket"
)

// healthServer serves the health endpoint at all of its addresses. It answers on its own
// goroutines, so it answers even if every loop hangs. The first loop opens and reopens its
// sockets, like all others.
type healthServer struct {
	post func(f func()) bool // to the first loop
	http *health.Server
}

var _ server = (*healthServer)(nil)

// serve implements server, for the first loop's goroutine.
func (h *healthServer) serve(fd int, lost func(why error)) (func(), error) {
	file := os.NewFile(uintptr(fd), "health")
	l, err := net.FileListener(file) // duplicates the descriptor
	_ = file.Close()
	if err != nil {
		return nil, err
	}
	closed := false
	go func() {
		err := h.http.Serve(l)
		h.post(func() {
			if !closed {
				_ = l.Close()
				lost(err)
			}
		})
	}()
	return func() {
		closed = true
		_ = l.Close()
	}, nil
}

// close ends the server. It waits up to a second for answers in progress. Call it after
// the loops have ended.
func (h *healthServer) close() {
	brief, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if h.http.Shutdown(brief) != nil {
		_ = h.http.Close()
	}
}

// healthHandler returns the handler of the health endpoint.
func (s *Service) healthHandler(lines health.LogStats) http.Handler {
	metrics := health.NewMetrics(s.clock, s.version, lines)
	var loops []*reactor.Loop
	for _, w := range s.workers {
		loops = append(loops, w.loop)
		metrics.AddLoop(w.loop)
	}
	for i, p := range s.protocols {
		var datagramStats []health.UDPStats
		var connectionStats []health.TCPStats
		for _, w := range s.workers {
			switch one := w.servers[i].(type) {
			case datagrams:
				datagramStats = append(datagramStats, one.config.Counters)
			case connections:
				connectionStats = append(connectionStats, one.counters)
			}
		}
		switch {
		case p.Dialect == config.Health:
		case p.Network == socket.UDP:
			if one, ok := s.driverCounts(p); ok {
				datagramStats = append(datagramStats, one)
			}
			metrics.AddUDP(p.Name, forms(p.Dialect), datagramStats)
		default:
			metrics.AddTCP(p.Name, forms(p.Dialect), connectionStats)
		}
	}

	if s.driver != nil {
		metrics.AddDriver(s.driver.xdp)
	}
	if s.peers != nil {
		metrics.SetPeers(s.peers)
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
	if s.config.RequireSync {
		checks = append(checks, health.Check{Name: "clock", Check: s.checkClock})
	}
	handler := health.Handler(health.NewLoops(s.config.LivenessTimeout, loops), checks, metrics, s.log)
	if s.peers == nil {
		return handler
	}
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	mux.Handle("GET "+peers.Path, s.peers)
	return mux
}

// checkClock returns why the clock is not trusted, or nil.
func (s *Service) checkClock() error {
	now := s.clock.Now()
	return untrusted(s.clock.Quality(now), now, s.config.ClockMaxError)
}
