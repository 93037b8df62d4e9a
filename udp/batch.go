package udp

const (
	// batchSize is how many datagrams are taken in at a time.
	batchSize = 64

	// sendSize is how many answers leave together. The kernel sends one after
	// the other, so the last one's time is older when it leaves by what the
	// others take.
	sendSize = 16

	// MaxRequest is how much of a datagram is read: what an Ethernet frame
	// holds. Being an odd number of cache lines, it keeps the beginnings of a
	// batch's datagrams, as a rule all that is looked at, out of each other's
	// way in the cache.
	MaxRequest = 23 * 64

	// maxControl has room for an in6_pktinfo and a timespec, each with its header.
	maxControl = 128
)

// debt is an answer that is owed.
type debt struct {
	slot int  // of the datagram
	kiss bool // it is to be told to ask less often
}

// answer returns the memory for answer i, empty.
func (b *batch) answer(i int) []byte { return b.answers[i][:0] }

// forget strikes one off owed.
func (b *batch) forget(i int) { b.owed = append(b.owed[:i], b.owed[i+1:]...) }

// settle strikes the first n, whose answers have left, off owed.
func (b *batch) settle(n int) { b.owed = b.owed[:copy(b.owed, b.owed[n:])] }
