package main

import (
	"time"

	"nowd/answer"
	"nowd/guard"
	"nowd/health"
	"nowd/reactor"
	"nowd/socket"
	"nowd/tcp"
	"nowd/udp"
)

// offer is a protocol that is served, at addresses of its own.
type offer struct {
	name     string // as metrics, logs and /ready have it
	network  socket.Network
	variable string
	listen
	form  answer.Form // of what is answered; the first of many for text
	index int         // among those that are on
}

// offered returns what is on.
func (c *config) offered() []*offer {
	var on []*offer
	for _, o := range []*offer{
		{name: "udp", network: socket.UDP, variable: "NOWD_UDP_LISTEN", listen: c.UDP},
		{name: "tcp", network: socket.TCP, variable: "NOWD_TCP_LISTEN", listen: c.TCP},
		{name: "daytime_udp", network: socket.UDP, variable: "NOWD_DAYTIME_LISTEN", listen: c.Daytime, form: answer.DaytimeForm},
		{name: "daytime_tcp", network: socket.TCP, variable: "NOWD_DAYTIME_LISTEN", listen: c.Daytime, form: answer.DaytimeForm},
		{name: "time_udp", network: socket.UDP, variable: "NOWD_TIME_LISTEN", listen: c.Time, form: answer.TimeForm},
		{name: "time_tcp", network: socket.TCP, variable: "NOWD_TIME_LISTEN", listen: c.Time, form: answer.TimeForm},
		{name: "ntp", network: socket.UDP, variable: "NOWD_NTP_LISTEN", listen: c.NTP, form: answer.NTPForm},
	} {
		if !o.off {
			o.index = len(on)
			on = append(on, o)
		}
	}
	return on
}

// healthOffer returns the health endpoint's part in what is listened at.
func (c *config) healthOffer() *offer {
	return &offer{name: "health", network: socket.TCP, variable: "NOWD_HEALTH_LISTEN", listen: c.Health}
}

// ports returns the ports from which we answer datagrams.
func (s *service) ports() (ports []uint16) {
	for _, o := range s.offers {
		if o.network == socket.UDP {
			ports = append(ports, o.port)
		}
	}
	return ports
}

// worker is a loop and what runs on it.
type worker struct {
	loop    *reactor.Loop
	servers []server // one for each offer
}

// server serves one offer on one loop. Its methods but traffic belong to the
// loop's goroutine.
type server interface {
	// serve serves at a socket, which it owns from now on. Should it be lost
	// later, gone is called. What serve returns ends service there.
	serve(fd int, gone func(why error)) (shut func(), err error)
	traffic() health.Traffic
}

func (s *service) newWorker(loop *reactor.Loop, i int) *worker {
	w := &worker{loop: loop}
	d := s.newDialects()
	g := guard.Config{Ports: s.ports(), IsAnswer: answer.Own}
	// One of each for all protocols: the datagrams of one socket of a client's
	// all arrive at the same loop.
	if s.RateLimit != 0 {
		g.Limiter = guard.NewLimiter(int(s.RateLimit), s.RateBurst)
	}
	if rate := share(int(s.TotalLimit), int(s.Loops), i); rate != 0 {
		g.Total = guard.NewBucket(rate, max(1, rate/10))
	}
	conns := share(s.MaxConns, int(s.Loops), i)
	for _, o := range s.offers {
		if o.network == socket.TCP {
			w.servers = append(w.servers, s.newConnections(loop, o, d, conns))
		} else {
			w.servers = append(w.servers, s.newDatagrams(loop, o, d, g))
		}
	}
	return w
}

// dialects are those of one loop that are spoken over UDP and TCP.
type dialects struct {
	text    *answer.Text
	daytime *answer.Daytime
	time    *answer.Time
}

func (s *service) newDialects() dialects {
	trusted := s.trusted
	if !s.RequireSync {
		trusted = nil
	}
	return dialects{
		text:    answer.NewText(s.clock, time.Local, s.Format, s.Newline),
		daytime: answer.NewDaytime(time.Local, trusted),
		time:    answer.NewTime(trusted),
	}
}

// trusted reports whether the clock may be told where only a good time will do.
func (s *service) trusted(now time.Time) bool {
	return s.clock.Quality(now).Trusted(now, s.ClockMaxError)
}

func (s *service) newConnections(loop *reactor.Loop, o *offer, d dialects, conns int) server {
	c := tcp.Config{
		Clock:        s.clock,
		Text:         d.text,
		Framing:      s.Framing,
		MaxConns:     conns,
		Sources:      s.sources,
		IdleTimeout:  s.IdleTimeout,
		WriteTimeout: s.WriteTimeout,
		NoDelay:      s.NoDelay,
		Logger:       s.log,
		Counters:     tcp.NewCounters(loop, o.forms()...),
	}
	switch o.form {
	case answer.DaytimeForm:
		c.Greeting = d.daytime
	case answer.TimeForm:
		c.Greeting = d.time
	}
	return connections{tcp.NewServer(loop, c)}
}

func (s *service) newDatagrams(loop *reactor.Loop, o *offer, d dialects, g guard.Config) server {
	c := udp.Config{Clock: s.clock, Counters: udp.NewCounters(loop, o.forms()...)}
	g.MinSize = s.MinRequest
	switch o.form {
	case answer.DaytimeForm:
		c.Dialect = d.daytime
	case answer.TimeForm:
		c.Dialect = d.time
	case answer.NTPForm:
		c.Dialect, c.Arrival = answer.NewNTP(s.clock, s.NTPStratum, s.NTPRefID), !fakeTime
		g.Clients = []uint16{ntpPort} // where clients may ask from, too: RFC 5905, section 9.1
		g.MinSize = 0                 // an answer is as long as the shortest request
	default:
		c.Dialect = d.text
	}
	c.Guard = guard.New(g)
	return datagrams{loop, c}
}

const ntpPort = 123

// forms returns those that the answers may have.
func (o *offer) forms() []answer.Form {
	switch o.form {
	case answer.DateTime:
		return answer.TextForms()
	case answer.NTPForm:
		return []answer.Form{answer.NTPForm, answer.KissForm}
	}
	return []answer.Form{o.form}
}

// share returns the part of n that is for one of so many; none is without, if n
// is not 0.
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

// datagrams serves over UDP.
type datagrams struct {
	loop   *reactor.Loop
	config udp.Config
}

func (d datagrams) traffic() health.Traffic { return d.config.Counters }

func (d datagrams) serve(fd int, gone func(why error)) (func(), error) {
	s, err := udp.Serve(d.loop, fd, d.config, gone)
	if err != nil {
		return nil, err
	}
	return s.Close, nil
}

// connections serves over TCP.
type connections struct{ server *tcp.Server }

func (c connections) traffic() health.Traffic { return c.server.Counters }

func (c connections) serve(fd int, gone func(why error)) (func(), error) {
	return func() { c.server.Unlisten(fd) }, c.server.Listen(fd, gone)
}
