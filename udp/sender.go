package udp

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"nowd/reactor"
	"nowd/socket"
)

// sender chooses the socket that sends a server's replies. It is the server's own socket
// until that socket's send buffer stays full.
//
// The kernel keeps a datagram to an unresolved neighbour on the link until ARP or
// neighbour discovery succeeds, or fails after 3 s. Meanwhile the datagram occupies the
// send buffer of its socket. 256 such replies fill a buffer of the usual size
// (net.core.wmem_default, 212,992 bytes), and then the socket can send to no client.
// Therefore a socket that stays full for stuckAfter is replaced by another
// (socket.OpenSender). When the server's own socket has drained, it sends again and the
// replacement is closed. Closing a socket loses nothing: the kernel keeps the datagrams
// that it has accepted.
//
// Ordinary backpressure ends earlier, with PollOut, and opens no socket.
//
// A server opens at most one socket per stuckAfter, so 25,600 stuck replies a second
// (100 buffers of 256) do not stop it. Two limits bound the memory of stuck replies.
// One is that rate: 300 buffers in 3 s, 61 MiB. The other is the kernel's neighbour
// table: at most net.ipv4.neigh.default.gc_thresh3 neighbours (1024, and as many for
// IPv6), each with a queue of at most unres_qlen_bytes (212,992); beyond that the kernel
// drops the oldest datagram. If the table is full or a gateway does not respond, replies
// on that path are lost, whichever socket sends them.
//
// A server that cannot bind more sockets to its port later opens a pool of them at start
// (Config.Senders). It uses them in turn and never closes them before its own. A socket
// is writable again when half of the data in its send buffer is gone. A pool of n
// sockets therefore sustains n/2 silent neighbours at any rate, since the kernel keeps
// at most one send buffer of data for each. With more silent neighbours, the pool and
// the server's own socket sustain n+1 half buffers in 3 s. For n = 16 that is 8
// neighbours, or 725 replies a second. If every socket is full, replies wait, and the
// server receives nothing until one is writable.
type sender struct {
	fd          int            // the replacement socket; -1 while the server's own socket sends
	source      []byte         // control message with the replies' source address, for datagrams that have none
	stuck       *reactor.Timer // set while replies wait for a full send buffer
	returnTimer *reactor.Timer // set while a replacement sends
	pool        []int          // sockets opened at start; nil if sockets are opened on demand
	next        int            // index in pool of the next socket to use
}

const (
	// stuckAfter is how long replies wait for a full send buffer before another socket
	// sends them. A 100 Mbit/s link drains a full buffer in half that time.
	stuckAfter = 10 * time.Millisecond

	// retryInterval is how often the server checks whether its own socket has drained,
	// and how long it waits after it failed to open a replacement.
	retryInterval = time.Second
)

// sendFD returns the socket to send from.
func (s *Server) sendFD() int {
	if s.sender.fd >= 0 {
		return s.sender.fd
	}
	return s.fd
}

// waiting reports whether replies wait for a full send buffer.
func (s *Server) waiting() bool { return s.sender.stuck != nil }

// awaitRoom makes the replies wait until the server's own socket is writable, but at
// most for d.
func (s *Server) awaitRoom(d time.Duration) {
	if !s.waiting() {
		s.sender.stuck = s.loop.After(d, s.sendElsewhere)
	}
}

// endWait ends the wait of awaitRoom.
func (s *Server) endWait() {
	if s.waiting() {
		s.sender.stuck.Stop()
		s.sender.stuck = nil
	}
}

// sendElsewhere sends from a replacement, after the wait of awaitRoom has timed out.
func (s *Server) sendElsewhere() {
	s.sender.stuck = nil
	if s.fd < 0 {
		return
	}
	if !s.replaceSender() {
		retry := retryInterval
		if s.sender.pool != nil {
			retry = stuckAfter
		}
		s.awaitRoom(retry)
		return
	}
	s.sendPending()
}

// openPool opens a pool of n sockets. If n is 0, replacements are opened on demand.
func (s *Server) openPool(n int) error {
	for range n {
		fd, err := socket.OpenSender(s.fd)
		if err != nil {
			return err
		}
		s.sender.pool = append(s.sender.pool, fd)
	}
	return nil
}

// closePool closes the pool's sockets.
func (s *Server) closePool() {
	for _, fd := range s.sender.pool {
		_ = unix.Close(fd)
	}
	s.sender.pool = nil
}

// errPoolFull means that no socket of the pool is writable.
var errPoolFull = errors.New("the send buffers of all sockets in the pool are full")

// replacement returns a new socket, or the next writable one of the pool.
func (s *Server) replacement() (int, error) {
	if s.sender.pool == nil {
		return socket.OpenSender(s.fd)
	}
	for range s.sender.pool {
		fd := s.sender.pool[s.sender.next]
		s.sender.next = (s.sender.next + 1) % len(s.sender.pool)
		if isWritable(fd) {
			return fd, nil
		}
	}
	return -1, errPoolFull
}

// replaceSender makes a replacement send. It reports false if it gets none, and changes
// nothing.
func (s *Server) replaceSender() bool {
	source, err := sourceControl(s.fd)
	if err != nil {
		return false
	}
	fd, err := s.replacement()
	if err != nil {
		return false
	}
	s.closeSender()
	s.sender.fd, s.sender.source = fd, source
	s.sender.returnTimer = s.loop.Every(retryInterval, s.returnIfDrained)
	s.config.Counters.add(counterReplacements, 1)
	return true
}

// returnIfDrained makes the server's own socket send again if it has drained.
func (s *Server) returnIfDrained() {
	if isWritable(s.fd) {
		s.closeSender()
	}
}

// closeSender makes the server's own socket send again. It closes a replacement that is
// not of the pool.
func (s *Server) closeSender() {
	if s.sender.fd < 0 {
		return
	}
	if s.sender.pool == nil {
		_ = unix.Close(s.sender.fd)
	}
	s.sender.fd = -1
	s.sender.returnTimer.Stop()
}

// isWritable reports whether a socket is writable: poll(2).
func isWritable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLOUT != 0
}
