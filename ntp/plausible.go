package ntp

import (
	"errors"
	"fmt"
	"time"

	"nowd/clock"
)

// ErrImplausible is the error of an exchange in which each answer had a field outside
// its plausible range.
var ErrImplausible = errors.New("implausible answer")

// The plausible ranges of an answer's fields. Leap indicator and reference id may have
// any value.
//
//	version            1 to 4
//	stratum            0 to 16; higher ones are reserved (RFC 5905, figure 11)
//	poll               2^-7 to 2^24 s, the limits of chronyd
//	precision          2^-32 s, the unit of a timestamp, to 1 s
//	receive, transmit  not zero; transmit is not before receive, nor later by more
//	                   than the time that the exchange takes
//	root delay,        a root distance of at most 16 s, if the server is
//	root dispersion    synchronised
//	reference          zero, or at most 2^17 s (MAXPOLL) before transmit, if the
//	                   server is synchronised
const (
	minPoll, maxPoll           = -7, 24
	minPrecision, maxPrecision = -32, 0
	maxReferenceAge            = 1 << 17 * time.Second
)

// plausible returns nil if each field of an answer is in its plausible range.
// Otherwise the error wraps ErrImplausible and names a field. took is the time from
// the request to the answer.
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
	if p.hasTime() {
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

// slack returns by how much the time between two readings of the server's clock may
// exceed took, or be negative: the clock has a resolution, and drifts. It can add an
// error of half the slack to the Offset of a Response, for which the caller of Exchange
// must allow.
func (p *Packet) slack(took time.Duration) time.Duration {
	return time.Second>>-p.Precision + clock.DriftOver(took) + time.Microsecond
}

// hasTime reports whether p must have timestamps. A kiss needs none, except one that
// says that the server is not synchronised yet.
func (p *Packet) hasTime() bool {
	if p.Stratum != StratumUnspecified || p.RefID == KissInit.RefID() || p.RefID == KissStep.RefID() {
		return true
	}
	for _, c := range p.RefID {
		if c < ' ' || c > '~' {
			return true // the reference id is not a kiss code
		}
	}
	return false
}
