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

// driver lets a network interface's driver answer simple requests by itself: package xdp.
// The sockets answer the other requests, and all requests while the driver does not know
// the time.
//
// While there is traffic, the service writes the time for the driver once a second. After
// a second without traffic it makes the driver forget the time, so that an idle service
// does nothing. The next datagram then goes to the sockets, and notice wakes the driver.
//
// Only the first loop's goroutine uses it, except notice.
type driver struct {
	service  *Service
	loop     *reactor.Loop
	xdp      *xdp.Driver
	timer    *reactor.Timer // set while the driver knows the time
	answered uint64         // answers of the driver until the last refresh
	failed   bool           // the last refresh failed, which is logged
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

// Ready implements reactor.Handler: the interface may have changed.
func (d *driver) Ready(_ int, ev reactor.Events) reactor.Events {
	if d.xdp.Changed() {
		if !d.xdp.Attached() {
			d.service.log.Warn("the interface is gone; the sockets answer instead of its driver", "interface", d.xdp.String())
		}
		d.update()
	}
	return ev
}

// Removed implements reactor.Handler. It detaches the program: the loop has ended, or has
// removed the monitor.
func (d *driver) Removed(int, error) { d.xdp.Stop() }

// stop detaches the program from the interface.
func (d *driver) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.awake.Store(true) // for good, so that notice does not set the timer again
	_ = d.loop.Remove(d.xdp.Monitor())
	d.xdp.Stop()
}

// notice records that the sockets got a datagram, and wakes the driver if it has
// forgotten the time. Any loop's goroutine may call it, for each datagram.
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

// tick refreshes the driver, or makes it forget the time if there was no traffic since the
// last tick.
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

// refresh writes the facts for the driver: the time, its error bound, and the addresses
// at which the protocols are served.
func (d *driver) refresh() {
	err := d.xdp.Refresh(d.endpoints())
	if err != nil && !d.failed {
		d.service.log.Error("cannot write the time for the driver; the sockets answer", "error", err)
	}
	d.failed = err != nil
}

// update writes the addresses at which the driver may answer and, if the driver is awake,
// the time.
func (d *driver) update() {
	if d.awake.Load() {
		d.refresh()
	} else {
		d.xdp.Forget(d.endpoints())
	}
}

// endpoints returns the endpoints for the driver: those that sockets serve as well. If
// another process has an address, the driver must not answer there either.
func (d *driver) endpoints() (served []xdp.Endpoint) {
	for _, e := range d.service.endpoints {
		if p, ok := driverProtocol(e.protocol); ok && e.addr.Port() == driverPort(e.protocol.Listen) && e.check() == nil {
			served = append(served, xdp.Endpoint{Protocol: p, Addr: e.addr.Addr()})
		}
	}
	return served
}

// driverPort returns the port at which the driver answers: the first port of a setting.
// Only the sockets answer at its other ports.
func driverPort(l config.Listen) uint16 { return l.Ports()[0] }

// driverProtocol returns the driver's protocol for p. It returns false if the driver does
// not serve p.
func driverProtocol(p config.Protocol) (xdp.Protocol, bool) {
	switch {
	case p.Network == socket.UDP && p.Dialect == config.Text:
		return xdp.Text, true
	case p.Dialect == config.NTP:
		return xdp.NTP, true
	}
	return 0, false
}

// endpointChanged updates the driver after an endpoint was opened or lost.
func (s *Service) endpointChanged() {
	if s.driver != nil {
		s.driver.update()
	}
}

// watch returns a dialect that answers like dialect and calls d.notice for each datagram
// that it is given.
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

// watchedKisses is a watched dialect with kisses. Kisses do not wake the driver.
type watchedKisses struct {
	watched
	udp.KissAppender
}
