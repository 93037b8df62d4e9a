package udp

const (
	// batchSize is how many datagrams are taken in and answered at a time.
	batchSize = 16

	// maxRequest is how much of a datagram is read: what an Ethernet frame
	// holds. Being an odd number of cache lines, it keeps the beginnings of a
	// batch's datagrams, as a rule all that is looked at, out of each other's
	// way in the cache.
	maxRequest = 23 * 64
)
