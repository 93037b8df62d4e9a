package service

import (
	"slices"
	"time"

	"nowd/answer"
	"nowd/config"
	"nowd/guard"
	"nowd/reactor"
	"nowd/socket"
	"nowd/tcp"
	"nowd/udp"
)

// udpPorts returns the ports at which nowd answers datagrams.
func (s *Service) udpPorts() (ports []uint16) {
	for _, p := range s.protocols {
		if p.Network == socket.UDP {
			ports = append(ports, p.Listen.Ports()...)
		}
	}
	return ports
}

// tcpServers returns the number of TCP servers, of all loops together.
func (s *Service) tcpServers() (n int) {
	for _, p := range s.protocols {
		if p.Network == socket.TCP && p.Dialect != config.Health {
			n += int(s.config.Loops)
		}
	}
	return n
}

// worker is a loop and the servers that run on it.
type worker struct {
	loop    *reactor.Loop
	servers []server // of each protocol, by its index in Service.protocols; nil for health
}

// newWorker makes the servers of the loop with index i.
func (s *Service) newWorker(loop *reactor.Loop, i, maxConns int, sources *tcp.Sources) *worker {
	w := &worker{loop: loop}
	c, loops := s.config, int(s.config.Loops)
	d := s.newDialects()
	// The protocols share the limits per source. The loops need not: the kernel sends all
	// datagrams of a client's socket to the same loop.
	g := guard.Config{Ports: s.udpPorts(), IsAnswer: answer.IsAnswer, Sources: guard.NewSources(guard.Limits{
		PerSecond:  int(c.RateLimit),
		Burst:      c.RateBurst,
		LongestRun: longestRun(c.RateLimit),
	})}
	if rate := share(int(c.TotalLimit), s.sharers(), i); rate != 0 {
		g.Total = guard.NewBucket(rate, max(1, rate/10))
	}
	for _, p := range s.protocols {
		var one server
		switch {
		case p.Dialect == config.Health:
		case p.Network == socket.TCP:
			one = s.newConnections(loop, p, d, share(maxConns, loops, i), sources)
		default:
			one = s.newDatagrams(loop, p, d, g)
		}
		w.servers = append(w.servers, one)
	}
	return w
}

// Bounds of longestRun.
const (
	minLongestRun = 2_000
	maxLongestRun = 1_000_000
)

// longestRun returns an upper bound on the answers in a row to one port of a source. It
// ends a reply loop with a service that answers answers. It is the rate limit of one
// second, between minLongestRun and maxLongestRun.
func longestRun(limit config.Limit) int {
	if limit == 0 { // off
		return maxLongestRun
	}
	return min(max(int(limit), minLongestRun), maxLongestRun)
}

// dialects are the dialects of one loop that are spoken over both UDP and TCP.
type dialects struct {
	text    *answer.Text
	daytime *answer.Daytime
	time    *answer.Time
}

// newDialects makes the dialects of one loop.
func (s *Service) newDialects() dialects {
	trusted := s.trusted
	if !s.config.RequireSync {
		trusted = nil
	}
	return dialects{
		text:    answer.NewText(s.clock, time.Local, s.config.Format, s.config.Newline),
		daytime: answer.NewDaytime(time.Local, trusted),
		time:    answer.NewTime(trusted),
	}
}

// trusted reports whether the clock is trusted. With NOWD_REQUIRE_SYNC, dialects that cannot
// carry an error bound answer only then.
func (s *Service) trusted(now time.Time) bool {
	return s.clock.Quality(now).Trusted(now, s.config.ClockMaxError)
}

// newConnections makes the TCP server of p on a loop. All loops share sources.
func (s *Service) newConnections(loop *reactor.Loop, p config.Protocol, d dialects, maxConns int, sources *tcp.Sources) server {
	c := tcp.Config{
		Clock:        s.clock,
		Text:         d.text,
		Framing:      s.config.Framing,
		MaxConns:     maxConns,
		Budget:       tcp.ServerBudget(s.tcpServers()),
		Sources:      sources,
		IdleTimeout:  s.config.IdleTimeout,
		WriteTimeout: s.config.WriteTimeout,
		NoDelay:      s.config.NoDelay,
		Logger:       s.log,
		Counters:     tcp.NewCounters(loop),
	}
	switch p.Dialect {
	case config.Daytime:
		c.ServerFirst = d.daytime
	case config.Time:
		c.ServerFirst = d.time
	}
	return connections{tcp.NewServer(loop, c), c.Counters}
}

// newDatagrams makes the UDP server of p on a loop. All protocols of the loop share g.
func (s *Service) newDatagrams(loop *reactor.Loop, p config.Protocol, d dialects, g guard.Config) server {
	c := udp.Config{Clock: s.clock, Counters: udp.NewCounters(loop)}
	if slices.ContainsFunc(p.Listen.Ports(), s.low.has) {
		c.Senders = spareSenders
	}
	g.MinSize = s.config.MinRequest
	switch p.Dialect {
	case config.Daytime:
		c.Dialect = d.daytime
	case config.Time:
		c.Dialect = d.time
	case config.NTP:
		c.Dialect, c.Timestamps = s.ntp, !fakeTime
		g.Clients = []uint16{ntpPort} // a port that clients may send from: RFC 5905, section 9.1
		g.MinSize = 0                 // an answer is never longer than its request
	default:
		c.Dialect = d.text
	}
	if s.driver != nil {
		c.Dialect = s.driver.watch(c.Dialect)
	}
	c.Guard = guard.New(g)
	return datagrams{loop, c}
}

const ntpPort = 123

// forms returns the forms that the answers of a dialect may have.
func forms(d config.Dialect) []answer.Form {
	switch d {
	case config.Daytime:
		return []answer.Form{answer.DaytimeForm}
	case config.Time:
		return []answer.Form{answer.TimeForm}
	case config.NTP:
		return []answer.Form{answer.NTPForm, answer.KissForm}
	}
	return answer.TextForms()
}

// sharers returns the number of shares of the limit for all sources: one for each loop,
// and one for the driver if there is one.
func (s *Service) sharers() int {
	n := int(s.config.Loops)
	if s.driver != nil {
		n++
	}
	return n
}

// share returns the i-th of several shares of n, which differ by at most 1. A share is at
// least 1, unless n is 0.
func share(n, of, i int) int {
	if n == 0 {
		return 0
	}
	part := n / of
	if i < n%of {
		part++
	}
	return max(1, part)
}

var (
	_ server = datagrams{}
	_ server = connections{}
)

// datagrams serves over UDP.
type datagrams struct {
	loop   *reactor.Loop
	config udp.Config
}

func (d datagrams) serve(fd int, lost func(why error)) (func(), error) {
	s, err := udp.Serve(d.loop, fd, d.config, lost)
	if err != nil {
		return nil, err
	}
	return s.Close, nil
}

// connections serves over TCP.
type connections struct {
	server   *tcp.Server
	counters *tcp.Counters
}

func (c connections) serve(fd int, lost func(why error)) (func(), error) {
	return func() { c.server.Unlisten(fd) }, c.server.Listen(fd, lost)
}
