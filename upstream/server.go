package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"nowd/clock"
)

// server is a time server that is checked against.
type server struct {
	address     string             // as it was given: a host or host:port
	resolved    netip.AddrPort     // what it stood for when it was last looked up with success
	unresolved  error              // of the last look-up
	same        *server            // another with the same resolved address, which is asked in its place; nil if there is none
	measurement *clock.Measurement // of this round; nil if there was no usable answer
	err         error              // of this round
	status      status
	skip        int // rounds that it is still not asked in
	backoff     int // rounds that it was last skipped for after a RATE kiss
}

// status is the last verdict on a server.
type status uint8

const (
	unknown     status = iota
	truechimer         // it agrees with the majority
	unusable           // it gives no answer, or none with a usable time
	falseticker        // it disagrees with the majority
	refusing           // it sent a DENY or RSTR kiss
)

// maxSkip is how many rounds a server that asks for fewer requests is skipped
// for, at most.
const maxSkip = 64

// resolve looks the server's address up.
func (s *server) resolve(ctx context.Context, lookup func(context.Context, string) (netip.AddrPort, error)) {
	var at netip.AddrPort
	if at, s.unresolved = lookup(ctx, s.address); s.unresolved == nil {
		s.resolved = at
	}
}

// distinct returns the servers, without those whose address another has already:
// each server counts once, by however many names it is given. It logs when a
// server turns out to be the same as another. One that could not be looked up is
// taken for what it stood for before.
func distinct(servers []*server, log *slog.Logger) (list []*server) {
	byAddress := make(map[netip.AddrPort]*server)
	for _, s := range servers {
		same := byAddress[s.resolved]
		if same == nil {
			list = append(list, s)
			if s.resolved.IsValid() {
				byAddress[s.resolved] = s
			}
		} else if s.same != same {
			log.Warn("a time server is given twice; it counts once", "server", s.address, "same_as", same.address, "address", s.resolved)
		}
		s.same = same
	}
	return list
}

// due reports whether the server is asked in this round.
func (s *server) due() bool {
	if s.skip > 0 {
		s.skip--
		return false
	}
	return true
}

// judge updates the status by the result of this round, and logs a change. A
// server that was not asked keeps its status. agreed is what the majority agrees
// on, nil without a majority.
func (s *server) judge(log *slog.Logger, agreed *clock.Measurement) {
	s.backOff()
	now := s.status
	switch {
	case errors.Is(s.err, errRefused):
		now = refusing
	case s.err != nil:
		now = unusable
	case s.measurement == nil || agreed == nil:
	case s.measurement.Interval().Disjoint(agreed.Interval()):
		now = falseticker
	default:
		now = truechimer
	}
	if now == s.status {
		return
	}
	s.status = now
	switch now {
	case unusable:
		log.Warn("a time server gives no usable time", "server", s.address, "error", s.err)
	case refusing:
		log.Warn("a time server refuses requests; backing off", "server", s.address, "error", s.err)
	case falseticker:
		log.Warn("a time server disagrees with the majority", "server", s.address, "offset", s.measurement.Offset, "bound", s.measurement.Bound)
	default:
		log.Info("a time server answers", "server", s.address, "offset", s.measurement.Offset, "bound", s.measurement.Bound)
	}
}

// backOff makes the server be skipped if it asked for that: for twice as many
// rounds after each further RATE kiss (RFC 5905, section 7.4), and for maxSkip
// after a refusal, when its name may stand for another host.
func (s *server) backOff() {
	switch {
	case errors.Is(s.err, errRate):
		s.backoff = min(max(1, 2*s.backoff), maxSkip)
		s.skip = s.backoff
	case errors.Is(s.err, errRefused):
		s.skip = maxSkip
	case s.measurement != nil:
		s.backoff = 0
	}
}
