package upstream

import (
	"errors"
	"log/slog"
)

// server is one that is asked, and what came of it.
type server struct {
	address string
	sample  *sample // of this round
	err     error   // likewise
	was     standing
	pauses  int // rounds that it still has to be left alone
	pause   int // how many those were the last time
}

// standing is what was last said of a server.
type standing uint8

const (
	unknown standing = iota
	good
	failing     // it does not answer, or not with a time
	falseticker // it disagrees with the majority
	refusing    // it asked to be left alone
)

// maxPause is for how many rounds a server is left alone that asks for fewer
// requests, at the most.
const maxPause = 64

// paused reports whether the server is to be left alone in this round.
func (s *server) paused() bool {
	if s.pauses > 0 {
		s.pauses--
		return true
	}
	return false
}

// note takes down how the server did in this round, if it was asked, and logs a
// change. best is what the majority says, nil if there is none.
func (s *server) note(log *slog.Logger, best *sample) {
	is := s.was
	switch {
	case errors.Is(s.err, errRefused):
		is = refusing
	case s.err != nil:
		is = failing
	case s.sample != nil && best != nil && s.sample.apart(best):
		is = falseticker
	case s.sample != nil && best != nil:
		is = good
	}
	switch {
	case errors.Is(s.err, errTooOften): // RFC 5905, section 7.4: fewer, and ever fewer
		s.pause = min(max(1, 2*s.pause), maxPause)
		s.pauses = s.pause
	case errors.Is(s.err, errRefused): // its name may stand for another one by then
		s.pauses = maxPause
	case s.sample != nil:
		s.pause = 0
	}
	if is == s.was {
		return
	}
	s.was = is
	switch is {
	case failing:
		log.Warn("a time server gives no time", "server", s.address, "error", s.err)
	case refusing:
		log.Warn("a time server wants no requests, and is left alone for a while", "server", s.address, "error", s.err)
	case falseticker:
		log.Warn("a time server disagrees with the majority", "server", s.address, "offset", s.sample.Offset, "bound", s.sample.Bound)
	default:
		log.Info("a time server answers", "server", s.address, "offset", s.sample.Offset, "bound", s.sample.Bound)
	}
}
