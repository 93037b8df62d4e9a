package udp

import "unsafe"

const (
	// receiveBatch is the maximum number of datagrams in a batch.
	receiveBatch = 64

	// sendBatch is the maximum number of answers sent together. They carry the same
	// time, and the kernel sends them one after another, so the last one leaves with
	// the oldest time. A smaller batch sends fresher times and costs more CPU time:
	// BENCHMARKS.md has the figures.
	sendBatch = 4

	// MaxRequest is the number of bytes read from a datagram: the payload of an
	// Ethernet frame. It is an odd number of cache lines, so that the datagrams of a
	// batch do not all begin in the same cache sets.
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

// replyBuffer returns the empty buffer of reply i.
func (b *batch) replyBuffer(i int) []byte { return b.replies[i][:0] }

// removePending removes pending[i].
func (b *batch) removePending(i int) { b.pending = append(b.pending[:i], b.pending[i+1:]...) }

// removeFirst removes the first n pending replies.
func (b *batch) removeFirst(n int) { b.pending = b.pending[:copy(b.pending, b.pending[n:])] }
