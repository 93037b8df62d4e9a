package udp

import (
	"time"

	"nowd/socket"
)

// backlog watches what the kernel drops because a socket's receive buffer is
// full, of which nothing is heard otherwise. A buffer that was full gives whole
// batches, or long ones, so it looks after these: now and then while they last,
// and when they end.
type backlog struct {
	full   bool          // the last batch was
	looked time.Duration // when, on the loop's clock
	told   uint32        // by the kernel, then
}

// lookEvery is how long it may take until drops are seen while they go on.
const lookEvery = 100 * time.Millisecond

// muchWaiting is how many bytes in a batch may mean a full buffer: few long
// datagrams fill it as well.
const muchWaiting = 64 << 10

// saw takes note of a batch of n datagrams with size bytes.
func (b *backlog) saw(s *Server, n, size int) {
	was := b.full
	b.full = n == batchSize || size >= muchWaiting
	if was != b.full || b.full && s.loop.Now()-b.looked >= lookEvery {
		b.look(s)
	}
}

func (b *backlog) look(s *Server) {
	b.looked = s.loop.Now()
	drops, err := socket.Drops(s.fd)
	if err != nil {
		return // this system does not tell
	}
	s.Counters.c.Add(counterOverflows, uint64(drops-b.told)) // the kernel's count wraps
	b.told = drops
}
