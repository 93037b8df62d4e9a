package reactor

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

var pollers = []namedPoller{{"epoll", openEpoll}, {"poll", openPoll}, {"select", openSelect}}

// epoll is the poller over epoll(7).
type epoll struct {
	fd    int
	ready [256]unix.EpollEvent
}

func openEpoll() (poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	return &epoll{fd: fd}, nil
}

func (p *epoll) add(fd int, mask Events, tag uint32) error {
	return p.ctl(unix.EPOLL_CTL_ADD, fd, mask, tag)
}

func (p *epoll) modify(fd int, mask Events, tag uint32) error {
	return p.ctl(unix.EPOLL_CTL_MOD, fd, mask, tag)
}

func (p *epoll) remove(fd int) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil))
}

// ctl carries the tag in the half of the kernel's user data that x/sys calls
// Pad. The events need no translation: epoll has taken poll's values over.
func (p *epoll) ctl(op, fd int, mask Events, tag uint32) error {
	ev := unix.EpollEvent{Events: uint32(mask), Fd: int32(fd), Pad: int32(tag)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, op, fd, &ev))
}

func (p *epoll) wait(events []event, timeout time.Duration) ([]event, error) {
	n, err := unix.EpollWait(p.fd, p.ready[:], ceil(timeout, time.Millisecond))
	if err != nil {
		return events, os.NewSyscallError("epoll_wait", err)
	}
	for i := range p.ready[:n] {
		ev := &p.ready[i]
		events = append(events, event{fd: ev.Fd, tag: uint32(ev.Pad), events: Events(ev.Events)})
	}
	return events, nil
}

func (p *epoll) close() error { return unix.Close(p.fd) }
