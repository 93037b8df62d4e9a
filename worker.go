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
	index int // among those that are on
}

// offered returns what is on.
func (s *service) offered() []*offer {
	var on []*offer
	for _, o := range []*offer{
		{name: "udp", network: socket.UDP, variable: "NOWD_UDP_LISTEN", listen: s.UDP},
		{name: "tcp", network: socket.TCP, variable: "NOWD_TCP_LISTEN", listen: s.TCP},
	} {
		if !o.off {
			o.index = len(on)
			on = append(on, o)
		}
	}
	return on
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

// tcpPorts returns the ports at which we listen.
func (s *service) tcpPorts() (ports []uint16) {
	for _, o := range s.offers {
		if o.network == socket.TCP {
			ports = append(ports, o.port)
		}
	}
	if !s.Health.off {
		ports = append(ports, s.Health.port)
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
	// stop answers what is owed and calls stopped when that is done.
	stop(stopped func())
}

func (s *service) newWorker(loop *reactor.Loop, i int) *worker {
	w := &worker{loop: loop}
	text := answer.NewText(s.clock, time.Local, s.Format, s.Newline)
	// One for all protocols: the datagrams of one socket of a client's all
	// arrive at the same loop.
	var limiter *guard.Limiter
	if s.RateLimit != 0 {
		limiter = guard.NewLimiter(int(s.RateLimit), s.RateBurst)
	}
	var total *guard.Bucket
	if rate := share(int(s.TotalLimit), int(s.Loops), i); rate != 0 {
		total = guard.NewBucket(rate, max(1, rate/10))
	}
	for _, o := range s.offers {
		if o.network == socket.TCP {
			w.servers = append(w.servers, connections{tcp.NewServer(loop, tcp.Config{
				Clock:        s.clock,
				Text:         text,
				Framing:      s.Framing,
				MaxConns:     share(s.MaxConns, int(s.Loops), i),
				Sources:      s.sources,
				IdleTimeout:  s.IdleTimeout,
				WriteTimeout: s.WriteTimeout,
				NoDelay:      s.NoDelay,
				Logger:       s.log,
				Counters:     tcp.NewCounters(loop),
			})})
			continue
		}
		w.servers = append(w.servers, &datagrams{loop: loop, config: udp.Config{
			Clock:   s.clock,
			Dialect: text,
			Guard: guard.New(guard.Config{
				Ports:    s.ports(),
				MinSize:  s.MinRequest,
				IsAnswer: answer.Own,
				Limiter:  limiter,
				Total:    total,
			}),
			Counters: udp.NewCounters(loop),
		}})
	}
	return w
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

// stop has the loop answer what it owes, and calls stopped when it has.
func (w *worker) stop(stopped func()) {
	w.loop.Post(func() {
		left := 1
		done := func() {
			if left--; left == 0 {
				stopped()
			}
		}
		for _, s := range w.servers {
			left++
			s.stop(done)
		}
		done()
	})
}

// datagrams serves over UDP.
type datagrams struct {
	loop    *reactor.Loop
	config  udp.Config
	servers map[*udp.Server]bool // one for each socket
}

func (d *datagrams) traffic() health.Traffic { return d.config.Counters }

func (d *datagrams) serve(fd int, gone func(why error)) (func(), error) {
	var s *udp.Server
	s, err := udp.Serve(d.loop, fd, d.config, func(why error) {
		delete(d.servers, s)
		gone(why)
	})
	if err != nil {
		return nil, err
	}
	if d.servers == nil {
		d.servers = make(map[*udp.Server]bool)
	}
	d.servers[s] = true
	return func() {
		delete(d.servers, s)
		s.Close()
	}, nil
}

func (d *datagrams) stop(stopped func()) {
	for s := range d.servers {
		s.Close()
	}
	stopped()
}

// connections serves over TCP.
type connections struct{ server *tcp.Server }

func (c connections) traffic() health.Traffic { return c.server.Counters }

func (c connections) serve(fd int, gone func(why error)) (func(), error) {
	return func() { c.server.Unlisten(fd) }, c.server.Listen(fd, gone)
}

func (c connections) stop(stopped func()) { c.server.Shutdown(stopped) }
