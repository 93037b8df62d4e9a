package xdp

// Stats is what the program has done about one protocol. What it passed because it
// was not as simple as the program wants it is not counted.
type Stats struct {
	Answers uint64

	// Dropped, for guard's reasons.
	SourcePort, OwnPort, ReplyLoop, RateLimit, TotalLimit uint64

	// Passed on to the sockets, because the facts had expired or the clock was
	// stepped.
	Stale uint64
}

// Drops returns the number of datagrams that were dropped.
func (s *Stats) Drops() uint64 {
	return s.SourcePort + s.OwnPort + s.ReplyLoop + s.RateLimit + s.TotalLimit
}
