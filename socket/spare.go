package socket

import "golang.org/x/sys/unix"

// A Spare is a descriptor in reserve. When the process has run out of
// descriptors, Refuse closes it, accepts a connection in its place and closes
// that, so that the client is refused instead of left waiting. A Spare is for
// one goroutine.
type Spare struct{ fd int }

// NewSpare returns a Spare. If no descriptor is available, Refuse opens one
// later.
func NewSpare() *Spare {
	s := &Spare{fd: -1}
	s.refill()
	return s
}

func (s *Spare) refill() {
	if fd, err := newSocket(unix.AF_UNIX, unix.SOCK_STREAM); err == nil {
		s.fd = fd
	}
}

// Refuse accepts a connection from listener and closes it. It reports false if
// accept(2) failed even with the spare descriptor closed.
func (s *Spare) Refuse(listener int) bool {
	s.Close()
	defer s.refill()
	fd, err := Accept(listener)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// Close closes the spare descriptor.
func (s *Spare) Close() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}
