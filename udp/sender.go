package udp

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"nowd/reactor"
	"nowd/socket"
)

// sender is the socket that a server's replies leave from. That is the server's own
// socket until its send buffer stays full.
//
// The kernel holds a datagram for a neighbour on the link until ARP or neighbour
// discovery has found it, and charges it to the send buffer of its socket. If
// nobody has the address, that takes 3 s. 256 such replies fill a buffer of the
// usual size (net.core.wmem_default, 212,992 bytes), and then nobody gets a reply.
// So a socket that has no room for stuckAfter is replaced by a fresh one
// (socket.OpenSender), and the server goes back to its own socket when that has
// drained. To close a socket loses nothing: the kernel keeps what was sent.
//
// Ordinary back-pressure ends sooner, by PollOut, and opens no socket.
//
// A server opens at most one socket per stuckAfter, so it gets round 25,600 stuck
// replies a second. The memory that they hold is bounded by that rate (300 buffers
// in 3 s, 62 MiB), and by the kernel's neighbour table: at most
// net.ipv4.neigh.default.gc_thresh3 neighbours (1024, and as many of IPv6), each
// with a queue of at most unres_qlen_bytes (212,992), after which the oldest
// datagram is dropped. If the table is full, or a gateway is silent, what would
// pass there is lost, whichever socket sends it.
//
// A server that cannot bind a socket to its port later has a pool of them instead
// (Config.Senders). They are used in turn and never closed: a socket has room again
// when half of what the kernel holds for it has failed. So n sockets and the server's
// own carry n/2 silent neighbours at any rate, since the kernel keeps no more for one
// of them than one send buffer holds, and of more neighbours n+1 halves of a buffer in
// 3 s: with 16, eight neighbours, or 725 replies a second. If no socket of the pool has
// room, replies wait until one has, and nothing is received meanwhile.
type sender struct {
	fd     int            // of the fresh socket; -1 while the server's own socket sends
	source []byte         // the control message with the reply's source, where the datagrams have none
	stuck  *reactor.Timer // set while replies wait for room
	back   *reactor.Timer // set while a fresh socket sends
	pool   []int          // sockets that were opened beforehand; nil if one is opened when it is needed
	next   int            // index in pool of the socket whose turn it is
}

const (
	// stuckAfter is how long replies wait for room in a send buffer before another
	// socket sends them. A link of 100 Mbit/s drains a full buffer in half of it.
	stuckAfter = 10 * time.Millisecond

	// backInterval is the time between two looks whether the server's own socket has
	// drained, and between two attempts to open a socket after one that failed.
	backInterval = time.Second
)

// sendFD returns the socket that sends now.
func (s *Server) sendFD() int {
	if s.sender.fd >= 0 {
		return s.sender.fd
	}
	return s.fd
}

// waiting reports whether replies wait for room in a send buffer.
func (s *Server) waiting() bool { return s.sender.stuck != nil }

// awaitRoom has the replies wait until the server's own socket is writable, for d at
// most.
func (s *Server) awaitRoom(d time.Duration) {
	if !s.waiting() {
		s.sender.stuck = s.loop.After(d, s.sendElsewhere)
	}
}

// endWait ends the wait for room.
func (s *Server) endWait() {
	if s.waiting() {
		s.sender.stuck.Stop()
		s.sender.stuck = nil
	}
}

// sendElsewhere goes on with a fresh socket, since there was no room for too long.
func (s *Server) sendElsewhere() {
	s.sender.stuck = nil
	if s.fd < 0 {
		return
	}
	if !s.replaceSender() {
		// A socket may get room in the meantime.
		retry := backInterval
		if s.sender.pool != nil {
			retry = stuckAfter
		}
		s.awaitRoom(retry)
		return
	}
	s.sendPending()
}

// openPool opens n sockets to send from. If n is 0 there is no pool, and a socket is
// opened when it is needed.
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

// errPoolUsedUp is the error of a pool in which no socket has room.
var errPoolUsedUp = errors.New("no socket of the pool has room")

// freshSocket returns a socket to send from that has room: a new one, or the next of
// the pool.
func (s *Server) freshSocket() (int, error) {
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
	return -1, errPoolUsedUp
}

// replaceSender has a fresh socket send. It reports false if there is none: then the
// old socket remains.
func (s *Server) replaceSender() bool {
	source, err := sourceControl(s.fd)
	if err != nil {
		return false
	}
	fd, err := s.freshSocket()
	if err != nil {
		return false
	}
	s.closeSender()
	s.sender.fd, s.sender.source = fd, source
	s.sender.back = s.loop.Every(backInterval, s.lookBack)
	s.config.Counters.add(counterReplacements, 1)
	return true
}

// lookBack closes the fresh socket if the server's own one has drained.
func (s *Server) lookBack() {
	if isWritable(s.fd) {
		s.closeSender()
	}
}

// closeSender closes the fresh socket, if there is one, or leaves it to the pool: the
// server's own one sends.
func (s *Server) closeSender() {
	if s.sender.fd < 0 {
		return
	}
	if s.sender.pool == nil {
		_ = unix.Close(s.sender.fd)
	}
	s.sender.fd = -1
	s.sender.back.Stop()
}

// isWritable reports whether a socket is writable: poll(2).
func isWritable(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&unix.POLLOUT != 0
}
