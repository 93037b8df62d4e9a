package udp

import (
	"unsafe"

	"nowd/answer"
)

const (
	// receiveBatch is the maximum number of datagrams in a batch.
	receiveBatch = 64

	// MaxRequest is the maximum number of bytes read from a datagram: the UDP payload of
	// an Ethernet frame over IPv4. It is an odd number of cache lines, so that the
	// datagrams of a batch do not all begin in the same cache sets.
	MaxRequest = 23 * 64

	// maxControl is the size of a control buffer in bytes. It holds an in6_pktinfo and
	// a timespec, each with its header.
	maxControl = 128
)

// controlBuffer holds the control messages of one datagram. It is an array of words
// because cmsg(3) requires aligned headers.
type controlBuffer [maxControl / 8]uint64

// bytes returns the buffer's memory.
func (b *controlBuffer) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(b)), maxControl)
}

// pendingReply is a received datagram that is not answered yet.
type pendingReply struct {
	slot int  // the datagram's index in the batch
	kiss bool // the source is over the rate limit: answer with a kiss (see KissAppender)
}

// replies has the pending replies of a batch, and a buffer for the one that is sent next.
//
// Replies are sent one at a time, each with its own reading of the clock. The kernel sends
// the datagrams of one sendmmsg(2) one after another, so with one reading for all of them
// the last one would leave with the oldest time. BENCHMARKS.md has the figures.
type replies struct {
	pending []pendingReply // part of queue
	queue   [receiveBatch]pendingReply
	buffer  [answer.MaxText]byte
}
