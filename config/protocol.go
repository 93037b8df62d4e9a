package config

import (
	"errors"
	"fmt"
	"slices"

	"nowd/socket"
)

// Protocol is a dialect over one transport.
type Protocol struct {
	Name    string // in metrics, logs and /ready
	Network socket.Network
	Dialect Dialect
	Setting string // the variable of Listen
	Listen  Listen
}

// Dialect is the language of a Protocol.
type Dialect uint8

const (
	Text    Dialect = iota // lines of text, and HTTP over TCP
	Daytime                // RFC 867
	Time                   // RFC 868
	NTP                    // RFC 5905
	Health                 // /live, /ready, /metrics and the status page
)

// Protocols returns the protocols that are on.
func (c *Config) Protocols() []Protocol {
	var on []Protocol
	for _, p := range []Protocol{
		{"udp", socket.UDP, Text, "NOWD_UDP_LISTEN", c.UDP},
		{"tcp", socket.TCP, Text, "NOWD_TCP_LISTEN", c.TCP},
		{"daytime_udp", socket.UDP, Daytime, "NOWD_DAYTIME_LISTEN", c.Daytime},
		{"daytime_tcp", socket.TCP, Daytime, "NOWD_DAYTIME_LISTEN", c.Daytime},
		{"time_udp", socket.UDP, Time, "NOWD_TIME_LISTEN", c.Time},
		{"time_tcp", socket.TCP, Time, "NOWD_TIME_LISTEN", c.Time},
		{"ntp", socket.UDP, NTP, "NOWD_NTP_LISTEN", c.NTP},
		{"health", socket.TCP, Health, "NOWD_HEALTH_LISTEN", c.Health},
	} {
		if !p.Listen.Off() {
			on = append(on, p)
		}
	}
	return on
}

// servesTime reports whether a protocol other than health is on.
func (c *Config) servesTime() bool {
	return slices.ContainsFunc(c.Protocols(), func(p Protocol) bool { return p.Dialect != Health })
}

// conflicts returns an error for each protocol that has the address of an earlier one. It
// does not resolve names, so it may miss a conflict. It reports equal errors once: daytime
// and time each have one setting for two protocols.
func (c *Config) conflicts() (errs []error) {
	var taken []Protocol
	reported := make(map[string]bool)
	for _, p := range c.Protocols() {
		for _, q := range taken {
			if p.Network != q.Network || !p.Listen.overlaps(q.Listen) {
				continue
			}
			err := fmt.Errorf("%s=%q: want a port that %s=%q does not have", p.Setting, p.Listen, q.Setting, q.Listen)
			if !reported[err.Error()] {
				errs = append(errs, err)
			}
			reported[err.Error()] = true
			break
		}
		taken = append(taken, p)
	}
	return errs
}

// missing returns an error for each setting that is off and that another setting needs.
func (c *Config) missing() (errs []error) {
	if len(c.Peers) == 0 {
		return nil
	}
	if c.NTP.Off() {
		errs = append(errs, errors.New(`NOWD_NTP_LISTEN="off": want an address: the members of NOWD_PEERS measure each other over NTP`))
	}
	if c.Health.Off() {
		errs = append(errs, errors.New(`NOWD_HEALTH_LISTEN="off": want an address: /peers serves the measurements of NOWD_PEERS`))
	}
	return errs
}
