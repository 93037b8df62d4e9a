package udp

import "unsafe"

const (
	// receiveBatch is the greatest number of datagrams received at a time.
	receiveBatch = 64

	// sendBatch is the greatest number of answers sent together. They all carry the
	// same time, and the kernel sends one after the other, so the time in the last
	// one is older by what the others take. Fewer cost more CPU time, and are younger:
	// BENCHMARKS.md has the figures.
	sendBatch = 4

	// MaxRequest is the number of bytes that are read of a datagram: what an
	// Ethernet frame holds. It is an odd number of cache lines, so that the
	// beginnings of a batch's datagrams do not compete for the same cache sets.
	MaxRequest = 23 * 64

	// maxControl is the size of a control buffer in bytes: an in6_pktinfo and a
	// timespec, each with its header, fit.
	maxControl = 128
)

// controlBuffer holds the control messages of one datagram. It consists of words,
// so that the headers in it are aligned as cmsg(3) has them.
type controlBuffer [maxControl / 8]uint64

// bytes returns the buffer's memory.
func (b *controlBuffer) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(b)), maxControl)
}

// pendingReply is a received datagram that has yet to be answered.
type pendingReply struct {
	slot int  // of the datagram in its batch
	kiss bool // the answer is a kiss: its source is over the limit
}

// replyBuffer returns the memory for reply i, empty.
func (b *batch) replyBuffer(i int) []byte { return b.replies[i][:0] }

// removePending removes pending[i], which gets no answer.
func (b *batch) removePending(i int) { b.pending = append(b.pending[:i], b.pending[i+1:]...) }

// removeFirst removes the first n pending replies, which are done with.
func (b *batch) removeFirst(n int) { b.pending = b.pending[:copy(b.pending, b.pending[n:])] }
