package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"

	"nowd/clock"
)

// server is a configured time server.
type server struct {
	address     string             // as configured: host or host:port
	resolved    netip.AddrPort     // result of the last successful look-up
	unresolved  error              // error of the last look-up
	same        *server            // another server with the same resolved address, which is asked instead; nil if there is none
	measurement *clock.Measurement // of this round; nil without a usable answer
	err         error              // of this round
	status      status
	skip        int // number of further rounds in which it is not asked
	backoff     int // number of rounds skipped after the last RATE kiss
}

// status is the last verdict on a server.
type status uint8

const (
	unknown     status = iota
	truechimer         // agrees with the majority
	unusable           // no answer, or no usable time in it
	falseticker        // disagrees with the majority
	refusing           // sent a DENY or RSTR kiss
)

// maxSkip is the maximum number of rounds for which a server is skipped after a kiss.
const maxSkip = 64

// resolve looks up the server's address.
func (s *server) resolve(ctx context.Context, lookup func(context.Context, string) (netip.AddrPort, error)) {
	var at netip.AddrPort
	if at, s.unresolved = lookup(ctx, s.address); s.unresolved == nil {
		s.resolved = at
	}
}

// distinct returns the servers without those whose resolved address is that of an earlier
// one: each server counts once, even if it is configured under several names. It logs a new
// duplicate. If a look-up failed, the result of the last successful one counts.
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
			log.Warn("time server configured twice; it counts once", "server", s.address, "same_as", same.address, "address", s.resolved)
		}
		s.same = same
	}
	return list
}

// due reports whether to ask the server in this round.
func (s *server) due() bool {
	if s.skip > 0 {
		s.skip--
		return false
	}
	return true
}

// judge updates the status with the result of this round, and logs a change. A server that
// was not asked keeps its status. agreed is the majority's measurement, or nil without a
// majority.
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
		log.Warn("time server gives no usable time", "server", s.address, "error", s.err)
	case refusing:
		log.Warn("time server refuses requests; backing off", "server", s.address, "error", s.err)
	case falseticker:
		log.Warn("time server disagrees with the majority", "server", s.address, "offset", s.measurement.Offset, "bound", s.measurement.Bound)
	default:
		log.Info("time server answers", "server", s.address, "offset", s.measurement.Offset, "bound", s.measurement.Bound)
	}
}

// backOff skips the server for some rounds after a kiss. Each further RATE kiss doubles
// their number (RFC 5905, section 7.4). After a refusal it is maxSkip: by then the name may
// resolve to another host.
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
