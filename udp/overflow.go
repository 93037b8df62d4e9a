package udp

import (
	"time"

	"nowd/socket"
)

// overflow counts the datagrams that the kernel dropped because the receive buffer
// was full. The kernel tells their number only when asked (socket.Drops), so it
// is asked when a batch suggests a full buffer: every checkInterval while such
// batches go on, and when they end.
type overflow struct {
	suspected bool          // whether the last batch suggested a full buffer
	checked   time.Duration // when the kernel was asked last, on the loop's clock
	drops     uint32        // what it said then
}

const (
	checkInterval = 100 * time.Millisecond

	// longBatch is the number of bytes in a batch that suggests a full buffer: a
	// few long datagrams fill it as well.
	longBatch = 64 << 10
)

// watchOverflow takes note of a received batch of n datagrams with size bytes in
// all.
func (s *Server) watchOverflow(n, size int) {
	o := &s.overflow
	before := o.suspected
	o.suspected = n == receiveBatch || size >= longBatch
	if before != o.suspected || o.suspected && s.loop.Now()-o.checked >= checkInterval {
		s.countOverflows()
	}
}

// countOverflows asks the kernel, and counts the drops since it was asked last.
func (s *Server) countOverflows() {
	o := &s.overflow
	o.checked = s.loop.Now()
	drops, err := socket.Drops(s.fd)
	if err != nil {
		return // this system does not tell
	}
	s.config.Counters.add(counterOverflows, uint64(drops-o.drops)) // modulo 2^32, as the kernel's count
	o.drops = drops
}
