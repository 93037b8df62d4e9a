package udp

import (
	"time"

	"nowd/socket"
)

// overflow counts the datagrams that the kernel dropped because the receive buffer was
// full. Reading that count is a system call (socket.Drops). The server makes it only
// when batches suggest a full buffer: at the first one, every checkInterval while they
// continue, and after the last one. Close makes it too.
type overflow struct {
	suspected bool          // the last batch suggested a full buffer
	checked   time.Duration // time of the last check, on the loop's clock
	drops     uint32        // the kernel's count at the last check
}

const (
	checkInterval = 100 * time.Millisecond

	// longBatch is the size in bytes of a batch that suggests a full buffer: a few long
	// datagrams can fill it.
	longBatch = 64 << 10
)

// watchOverflow checks for overflows if a batch of n datagrams, size bytes in total,
// suggests a full buffer.
func (s *Server) watchOverflow(n, size int) {
	o := &s.overflow
	before := o.suspected
	o.suspected = n == receiveBatch || size >= longBatch
	if before != o.suspected || o.suspected && s.loop.Now()-o.checked >= checkInterval {
		s.countOverflows()
	}
}

// countOverflows counts the kernel's drops since the last check.
func (s *Server) countOverflows() {
	o := &s.overflow
	o.checked = s.loop.Now()
	drops, err := socket.Drops(s.fd)
	if err != nil {
		return // not supported on this system
	}
	s.config.Counters.add(counterOverflows, uint64(drops-o.drops)) // the kernel's count wraps at 2^32
	o.drops = drops
}
