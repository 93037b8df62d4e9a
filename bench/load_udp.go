//go:build linux

package main

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// udpLoad sends requests in datagrams.
type udpLoad struct {
	meter   meter
	sockets []udpSocket
	polled  []unix.PollFd // the sockets, for poll(2)
	in, out *messages
}

type udpSocket struct {
	fd         int
	unanswered int
	sent       time.Duration // time of the last request
	last       time.Duration // time of the last request or answer
}

func newUDPLoad(c loadConfig) (*udpLoad, error) {
	l := &udpLoad{meter: meter{loadConfig: c}, in: newMessages(false, c.Ages), out: newMessages(false, false)}
	for i := range batchSize {
		l.out.set(i, requests(1))
	}
	for range c.Sockets {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, os.NewSyscallError("socket", err)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
			return nil, os.NewSyscallError("setsockopt", err)
		}
		if c.Ages {
			if err := enableTimestamps(fd); err != nil {
				return nil, err
			}
		}
		if err := unix.Connect(fd, sockaddr(c.Addr)); err != nil {
			return nil, os.NewSyscallError("connect", err)
		}
		l.sockets = append(l.sockets, udpSocket{fd: fd})
		l.polled = append(l.polled, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return l, nil
}

func (l *udpLoad) step(now time.Duration, drain bool) (busy bool, err error) {
	for i := range l.sockets {
		s := &l.sockets[i]
		if s.unanswered > 0 {
			got, err := l.receive(s, now)
			if err != nil {
				return busy, err
			}
			busy = busy || got
		}
		// Wait for several answers: one system call for many requests costs less.
		if free := l.meter.Depth - s.unanswered; !drain && free >= max(1, l.meter.Depth/4) {
			s.sent = l.meter.now()
			n, err := l.out.send(s.fd, free)
			if err != nil && !errors.Is(err, unix.EAGAIN) {
				return busy, os.NewSyscallError("sendmmsg", err)
			}
			s.unanswered += n
			s.last = s.sent
			busy = busy || n > 0
		}
	}
	if !busy && !l.meter.Spin {
		_, _ = unix.Poll(l.polled, 1)
	}
	return busy, nil
}

// receive receives and counts the answers that have arrived. If none has arrived for
// lossTimeout, it counts the socket's requests in flight as lost.
func (l *udpLoad) receive(s *udpSocket, now time.Duration) (bool, error) {
	n, err := l.in.receive(s.fd, batchSize)
	switch {
	case err == nil:
	case errors.Is(err, unix.EAGAIN):
		if now-s.last > lossTimeout {
			l.meter.result.Lost += uint64(s.unanswered)
			s.unanswered = 0
		}
		return false, nil
	default: // ECONNREFUSED: the server has exited
		return false, os.NewSyscallError("recvmmsg", err)
	}
	s.last = now
	if l.meter.Depth == 1 {
		l.meter.roundTrip.add(l.meter.now() - s.sent)
	}
	for i := range n {
		arrived, known := l.in.arrived(i)
		if err := l.meter.countAnswer(l.in.get(i), arrived, known); err != nil {
			return true, err
		}
	}
	s.unanswered = max(0, s.unanswered-n) // below 0 if an answer counted as lost arrived late
	return true, nil
}

func (l *udpLoad) inFlight() (n int) {
	for i := range l.sockets {
		n += l.sockets[i].unanswered
	}
	return n
}
