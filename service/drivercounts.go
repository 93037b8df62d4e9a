package service

import (
	"nowd/answer"
	"nowd/config"
	"nowd/guard"
	"nowd/udp"
	"nowd/xdp"
)

// driverCounts returns the driver's counters of p. It returns false if no driver answers p.
func (s *Service) driverCounts(p config.Protocol) (c driverCounts, ok bool) {
	if s.driver == nil {
		return c, false
	}
	c.driver = s.driver.xdp
	c.protocol, ok = driverProtocol(p)
	c.form = answer.NTPForm
	if c.protocol == xdp.Text {
		c.form = s.config.Format
	}
	return c, ok
}

// driverCounts are the driver's counters of one protocol, in the form of the sockets'
// counters. It is a health.UDPStats.
type driverCounts struct {
	driver   *xdp.Driver
	protocol xdp.Protocol
	form     answer.Form
}

// Stats returns the current values.
func (c driverCounts) Stats() (s udp.Stats) {
	d := c.driver.Stats(c.protocol)
	s.Requests = d.Answers + d.Drops()
	s.Answers[c.form] = d.Answers
	s.Drops[guard.SourcePort] = d.SourcePort
	s.Drops[guard.OwnPort] = d.OwnPort
	s.Drops[guard.ReplyLoop] = d.ReplyLoop
	s.Drops[guard.RateLimit] = d.RateLimit
	s.Drops[guard.TotalLimit] = d.TotalLimit
	return s
}
