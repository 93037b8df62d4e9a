package ntp

import (
	"errors"
	"fmt"
	"time"

	"nowd/clock"
)

// ErrImplausible is the error of an exchange in which the server sent answers,
// but each had a field outside its plausible range.
var ErrImplausible = errors.New("implausible answer")

// The plausible ranges of an answer's fields are these. Leap indicator and
// reference id may have any value.
//
//	version            1 to 4
//	stratum            0 to 16; higher ones are reserved (RFC 5905, figure 11)
//	poll               2^-7 to 2^24 s, the limits of chronyd
//	precision          2^-32 s, the unit of a timestamp, to 1 s
//	receive, transmit  not zero; from the one to the other passes no more time
//	                   than the whole exchange takes, and none backwards
//	root delay,        together a root distance of 16 s at most, if the server
//	root dispersion    is synchronised
//	reference          zero, or up to 2^17 s (MAXPOLL) before transmit, if the
//	                   server is synchronised
const (
	minPoll, maxPoll           = -7, 24
	minPrecision, maxPrecision = -32, 0
	maxReferenceAge            = 1 << 17 * time.Second
)

// plausible returns nil if each field of an answer is in its plausible range, or
// an ErrImplausible that names one that is not. took is the time from the request
// to the answer.
func (p *Packet) plausible(took time.Duration) error {
	implausible := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrImplausible}, args...)...)
	}
	switch {
	case p.Version < MinVersion || p.Version > MaxVersion:
		return implausible("version %d", p.Version)
	case p.Stratum > StratumUnsynchronized:
		return implausible("stratum %d", p.Stratum)
	case p.Poll < minPoll || p.Poll > maxPoll:
		return implausible("a poll interval of 2^%d s", p.Poll)
	case p.Precision < minPrecision || p.Precision > maxPrecision:
		return implausible("a precision of 2^%d s", p.Precision)
	}
	if p.tellsTime() {
		processing, slack := p.Transmit.Sub(p.Receive), p.slack(took)
		switch {
		case p.Receive == 0 || p.Transmit == 0:
			return implausible("a timestamp is missing")
		case processing > took+slack || processing < -slack:
			return implausible("a processing time of %v in an exchange of %v", processing, took)
		}
	}
	if p.Synchronized() {
		distance, age := p.RootDelay.Duration()/2+p.RootDispersion.Duration(), p.Transmit.Sub(p.Reference)
		switch {
		case distance > MaxDispersion:
			return implausible("a root distance of %v", distance)
		case p.Reference != 0 && (age < 0 || age > maxReferenceAge):
			return implausible("a reference time %v before the answer", age)
		}
	}
	return nil
}

// slack returns how much longer than took the time between two readings of the
// server's clock may seem, and by how much that clock may seem to go backwards.
// A Response that is used with an error of half of it, or more, allows for it.
func (p *Packet) slack(took time.Duration) time.Duration {
	return time.Second>>-p.Precision + clock.DriftOver(took) + time.Microsecond
}

// tellsTime reports whether p has timestamps that mean something. A kiss needs
// none, unless it is that of a server that is not synchronised yet.
func (p *Packet) tellsTime() bool {
	if p.Stratum != StratumUnspecified || p.RefID == KissInit.RefID() || p.RefID == KissStep.RefID() {
		return true
	}
	for _, c := range p.RefID {
		if c < ' ' || c > '~' {
			return true // no kiss code
		}
	}
	return false
}
