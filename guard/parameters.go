package guard

// Parameters are the numbers in the rule of a source's rate limit (limiter.go), for an
// implementation elsewhere. All are in nanoseconds.
type Parameters struct {
	Interval  int64 // between two tokens
	Tolerance int64 // how far the theoretical arrival time may be ahead of the time within the limit
	Reserve   int64 // chance decides while it is ahead by less than Tolerance + Reserve; then the datagram is dropped
}

// ParametersOf returns the parameters for perSecond answers a second and burst answers at
// once, both at least 1. A Bucket has the same ones, except Reserve.
func ParametersOf(perSecond, burst int) Parameters {
	r := newRate(perSecond, burst)
	return Parameters{Interval: r.interval, Tolerance: r.tolerance, Reserve: r.interval + r.tolerance/4}
}
