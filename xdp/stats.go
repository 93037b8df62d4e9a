package xdp

// Stats is a snapshot of the program's counters for one protocol. They count only requests
// that the program may answer. Other frames go to the sockets uncounted.
type Stats struct {
	Answers uint64

	// Dropped datagrams, by guard's verdicts.
	SourcePort, OwnPort, ReplyLoop, RateLimit, TotalLimit uint64

	// Datagrams passed to the sockets because the facts were expired or the clock was
	// stepped.
	Stale uint64
}

// Drops returns the number of dropped datagrams.
func (s *Stats) Drops() uint64 {
	return s.SourcePort + s.OwnPort + s.ReplyLoop + s.RateLimit + s.TotalLimit
}
