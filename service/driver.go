package service

import (
	"sync/atomic"
	"time"

	"nowd/answer"
	"nowd/config"
	"nowd/reactor"
	"nowd/socket"
	"nowd/udp"
	"nowd/xdp"
)

// driver has a network interface's driver answer what needs no judgement: package
// xdp. The sockets answer all else, and everything while the driver does not know
// the time well enough.
//
// While there is traffic, the service writes the time for the driver once a second.
// After a second without any it has the driver forget the time, and an idle service
// does nothing. Then the next datagram goes to the sockets, whose servers notice it.
//
// It belongs to the first loop's goroutine, but for notice.
type driver struct {
	service  *Service
	loop     *reactor.Loop
	xdp      *xdp.Driver
	timer    *reactor.Timer // set while the driver knows the time
	answered uint64         // by the driver, at the last refresh
	failed   bool           // the last refresh: it is logged once
	noticed  atomic.Bool    // the sockets got a datagram since the last refresh
	awake    atomic.Bool    // the timer is set, or about to be
}

var _ reactor.Handler = (*driver)(nil)

// attach attaches the program to the interface of NOWD_XDP.
func (d *driver) attach() error {
	s := d.service
	d.loop = s.workers[0].loop
	c := xdp.Config{
		Interface: s.config.XDP.Interface, Generic: s.config.XDP.Generic,
		Clock: s.clock, NTP: s.ntp,
		Ports: s.udpPorts(), MinRequest: s.config.MinRequest,
		LongestRun: longestRun(s.config.RateLimit),
	}
	if s.ntp != nil {
		c.NTPPort = driverPort(s.config.NTP)
	}
	if !s.config.UDP.Off() {
		c.Text, c.TextPort = answer.NewText(s.clock, time.Local, s.config.Format, s.config.Newline), driverPort(s.config.UDP)
	}
	if s.config.RateLimit != 0 {
		c.Source = xdp.Limit{Rate: int(s.config.RateLimit), Burst: s.config.RateBurst}
	}
	if rate := share(int(s.config.TotalLimit), s.sharers(), s.sharers()-1); rate != 0 {
		c.Total = xdp.Limit{Rate: rate, Burst: max(1, rate/10)}
	}
	var err error
	if d.xdp, err = xdp.Attach(c); err != nil {
		return err
	}
	if err := d.loop.Add(d.xdp.Monitor(), reactor.PollIn, d); err != nil {
		d.xdp.Stop()
		return err
	}
	s.log.Info("the driver answers", "interface", d.xdp.String())
	return nil
}

// Ready takes note that something about the interface has changed.
func (d *driver) Ready(_ int, ev reactor.Events) reactor.Events {
	if d.xdp.Changed() {
		if !d.xdp.Attached() {
			d.service.log.Warn("the interface is gone, so the driver does not answer any more; the sockets do", "interface", d.xdp.String())
		}
		d.update()
	}
	return ev
}

// Removed takes the program off the interface: the loop ends, or has removed the
// monitor.
func (d *driver) Removed(int, error) { d.xdp.Stop() }

// stop takes the program off the interface.
func (d *driver) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.awake.Store(true) // for good: nothing is to be written any more
	_ = d.loop.Remove(d.xdp.Monitor())
	d.xdp.Stop()
}

// notice takes note of a datagram that the sockets got, and wakes the driver if it
// has forgotten the time. Any loop's goroutine may call it, for each datagram.
func (d *driver) notice() {
	if !d.noticed.Load() {
		d.noticed.Store(true)
	}
	if !d.awake.Load() && d.awake.CompareAndSwap(false, true) {
		d.loop.Post(func() {
			d.refresh()
			d.timer = d.loop.Every(xdp.RefreshInterval, d.tick)
		})
	}
}

// tick refreshes the driver, or has it forget the time if there was no traffic since
// the last tick.
func (d *driver) tick() {
	text, ntp := d.xdp.Stats(xdp.Text), d.xdp.Stats(xdp.NTP)
	answered := text.Answers + ntp.Answers
	if noticed := d.noticed.Swap(false); !noticed && answered == d.answered {
		d.timer.Stop()
		d.xdp.Forget(d.endpoints())
		d.awake.Store(false)
		return
	}
	d.answered = answered
	d.refresh()
}

// refresh writes the facts that the driver answers by: the time, how far it can be
// trusted, and where the protocols are served.
func (d *driver) refresh() {
	err := d.xdp.Refresh(d.endpoints())
	if err != nil && !d.failed {
		d.service.log.Error("cannot write the time for the driver; the sockets answer", "error", err)
	}
	d.failed = err != nil
}

// update writes where the driver may answer, and, if it is awake, the time.
func (d *driver) update() {
	if d.awake.Load() {
		d.refresh()
	} else {
		d.xdp.Forget(d.endpoints())
	}
}

// endpoints returns where sockets serve what the driver can answer. What they do not
// serve, because another process has the address, is not the driver's either.
func (d *driver) endpoints() (served []xdp.Endpoint) {
	for _, e := range d.service.endpoints {
		if p, ok := driverProtocol(e.protocol); ok && e.addr.Port() == driverPort(e.protocol.Listen) && e.check() == nil {
			served = append(served, xdp.Endpoint{Protocol: p, Addr: e.addr.Addr()})
		}
	}
	return served
}

// driverPort returns the port at which the driver answers: the first one of a
// setting. At others the sockets do.
func driverPort(l config.Listen) uint16 { return l.Ports()[0] }

// driverProtocol returns which of the driver's protocols p is.
func driverProtocol(p config.Protocol) (xdp.Protocol, bool) {
	switch {
	case p.Network == socket.UDP && p.Dialect == config.Text:
		return xdp.Text, true
	case p.Dialect == config.NTP:
		return xdp.NTP, true
	}
	return 0, false
}

// endpointChanged updates the driver, since an endpoint is served now, or not any
// more.
func (s *Service) endpointChanged() {
	if s.driver != nil {
		s.driver.update()
	}
}

// watch returns a dialect that answers like another one, and lets d notice each
// datagram that is answered.
func (d *driver) watch(dialect udp.Dialect) udp.Dialect {
	w := watched{dialect, d}
	if kisses, ok := dialect.(udp.KissAppender); ok {
		return watchedKisses{w, kisses}
	}
	return w
}

// watched is a dialect that wakes the driver.
type watched struct {
	udp.Dialect
	driver *driver
}

func (w watched) AppendDatagram(b, req []byte, size int, received, now time.Time) ([]byte, answer.Outcome) {
	w.driver.notice()
	return w.Dialect.AppendDatagram(b, req, size, received, now)
}

// watchedKisses is a watched dialect with kisses, which do not wake the driver.
type watchedKisses struct {
	watched
	udp.KissAppender
}
