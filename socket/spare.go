package socket

import "golang.org/x/sys/unix"

// Spare is a descriptor in reserve. Where no more can be had it makes room for
// the one that it takes to turn a client away. It belongs to one goroutine.
type Spare struct{ fd int }

// NewSpare returns a Spare.
func NewSpare() *Spare {
	s := &Spare{fd: -1}
	s.refill()
	return s
}

func (s *Spare) refill() {
	if fd, err := create(unix.AF_UNIX, unix.SOCK_STREAM); err == nil {
		s.fd = fd
	}
}

// Refuse accepts a connection from listener and closes it. It reports whether
// there was one and the reserve sufficed.
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

// Close gives the reserve up.
func (s *Spare) Close() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}
