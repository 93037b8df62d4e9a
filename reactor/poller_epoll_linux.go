package reactor

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

var pollers = []namedPoller{{"epoll", openEpoll}, {"poll", openPoll}, {"select", openSelect}}

// epollPoller is the poller over epoll(7).
type epollPoller struct {
	fd    int
	ready [256]unix.EpollEvent // filled by wait
}

var _ poller = (*epollPoller)(nil)

func openEpoll() (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &epollPoller{fd: fd}, nil
}

func (p *epollPoller) add(fd int, mask Events, generation uint32) error {
	return p.ctl(unix.EPOLL_CTL_ADD, fd, mask, generation)
}

func (p *epollPoller) modify(fd int, mask Events, generation uint32) error {
	return p.ctl(unix.EPOLL_CTL_MOD, fd, mask, generation)
}

func (p *epollPoller) remove(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil))
}

// ctl stores the generation in Pad: the kernel's user data has 64 bits, and Fd
// is the other half. The mask needs no translation: epoll uses the values of
// poll(2).
func (p *epollPoller) ctl(op, fd int, mask Events, generation uint32) error {
	ev := unix.EpollEvent{Events: uint32(mask), Fd: int32(fd), Pad: int32(generation)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, op, fd, &ev))
}

func (p *epollPoller) wait(events []event, timeout time.Duration) ([]event, error) {
	n, err := unix.EpollWait(p.fd, p.ready[:], roundUp(timeout, time.Millisecond))
	if err != nil {
		return events, os.NewSyscallError("epoll_wait", err)
	}
	for i := range p.ready[:n] {
		ev := &p.ready[i]
		events = append(events, event{fd: ev.Fd, generation: uint32(ev.Pad), events: Events(ev.Events)})
	}
	return events, nil
}

func (p *epollPoller) close() error { return unix.Close(p.fd) }
