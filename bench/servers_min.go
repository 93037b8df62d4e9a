//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The servers min have no limits, timeouts or counters, and close the connection of a
// client that does not read. They read the clock once for each batch. So they show the cost
// of the kernel and of Go's runtime.

// minAnswer formats answers. It formats all but the microseconds once a second.
type minAnswer struct {
	second int64                // Unix time of the seconds in buf
	buf    [2 * layoutSize]byte // AppendFormat needs more room than its result
}

// at returns the answer for a time. It is valid until the next call.
func (a *minAnswer) at(now time.Time) []byte {
	if second := now.Unix(); second != a.second {
		a.second = second
		now.AppendFormat(a.buf[:0], layout)
	}
	micros := now.Nanosecond() / 1000
	for i := layoutSize - 2; i >= len(toSeconds); i-- {
		a.buf[i] = byte('0' + micros%10)
		micros /= 10
	}
	return a.buf[:layoutSize]
}

// serveMinUDP answers datagrams in batches.
func serveMinUDP(addr netip.AddrPort) error {
	fd, err := boundSocket(unix.SOCK_DGRAM, addr)
	if err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	var answer minAnswer
	batch := newMessages(true, false)
	return onEvents(fd, func(epoll, fd int) {
		for n := batchSize; n == batchSize; {
			n, _ = batch.receive(fd, batchSize)
			if n == 0 {
				return
			}
			b := answer.at(time.Now())
			for i := range n {
				batch.set(i, b)
			}
			_, _ = batch.send(fd, n)
		}
	})
}

// serveMinTCP answers each line. Input without the end of a line gets an answer too.
func serveMinTCP(addr netip.AddrPort) error {
	listener, err := boundSocket(unix.SOCK_STREAM, addr)
	if err != nil {
		return err
	}
	if err := unix.Listen(listener, unix.SOMAXCONN); err != nil {
		return os.NewSyscallError("listen", err)
	}
	var answer minAnswer
	in := make([]byte, 2<<10)
	var out []byte
	return onEvents(listener, func(epoll, fd int) {
		if fd == listener {
			for acceptInto(epoll, listener) {
			}
			return
		}
		n, err := receive(fd, in)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return
		case n == 0:
			_ = unix.Close(fd)
			return
		}
		b := answer.at(time.Now())
		out = append(out[:0], b...)
		for range bytes.Count(in[:n], []byte("\n")) - 1 {
			out = append(out, b...)
		}
		if sent, _ := send(fd, out); sent < len(out) {
			_ = unix.Close(fd)
		}
	})
}

// boundSocket returns a non-blocking socket that is bound to addr.
func boundSocket(kind int, addr netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		return -1, fmt.Errorf("bind to %v: %w", addr, err)
	}
	return fd, nil
}

func sockaddr(addr netip.AddrPort) unix.Sockaddr {
	return &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}
}

// acceptInto accepts a connection and watches it. It reports whether more may be in the
// accept queue.
func acceptInto(epoll, listener int) bool {
	fd, err := accept(listener)
	if err != nil {
		return false
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	return watch(epoll, fd, int32(fd)) == nil
}

// watch registers fd for EPOLLIN. Its events carry number.
func watch(epoll, fd int, number int32) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: number}))
}

// onEvents watches fd, and calls f for each watched descriptor that is readable. f may
// watch more. It returns only with an error.
func onEvents(fd int, f func(epoll, fd int)) error {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := watch(epoll, fd, int32(fd)); err != nil {
		return err
	}
	events := make([]unix.EpollEvent, 256)
	for {
		n, err := unix.EpollWait(epoll, events, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("epoll_wait", err)
		}
		for _, e := range events[:max(n, 0)] {
			f(epoll, int(e.Fd))
		}
	}
}
