package reactor

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pollSet is the poller over poll(2).
type pollSet struct {
	fds  []unix.PollFd
	tags []uint32      // of the descriptor at the same place in fds
	at   map[int]int32 // where in fds a descriptor is
}

func openPoll() (poller, error) { return &pollSet{at: make(map[int]int32)}, nil }

func (p *pollSet) add(fd int, mask Events, tag uint32) error {
	if mask&Edge != 0 {
		return ErrEdge
	}
	p.at[fd] = int32(len(p.fds))
	p.fds = append(p.fds, unix.PollFd{Fd: int32(fd), Events: int16(mask)})
	p.tags = append(p.tags, tag)
	return nil
}

func (p *pollSet) modify(fd int, mask Events, tag uint32) error {
	if mask&Edge != 0 {
		return ErrEdge
	}
	i := p.at[fd]
	p.fds[i].Events = int16(mask)
	p.tags[i] = tag
	return nil
}

// remove puts the last descriptor in the place of the one that goes.
func (p *pollSet) remove(fd int) error {
	i, last := p.at[fd], int32(len(p.fds)-1)
	p.fds[i], p.tags[i] = p.fds[last], p.tags[last]
	p.at[int(p.fds[i].Fd)] = i
	delete(p.at, fd)
	p.fds, p.tags = p.fds[:last], p.tags[:last]
	return nil
}

func (p *pollSet) wait(events []event, timeout time.Duration) ([]event, error) {
	n, err := unix.Poll(p.fds, ceil(timeout, time.Millisecond))
	if err != nil {
		return events, os.NewSyscallError("poll", err)
	}
	for i := 0; n > 0; i++ {
		if got := p.fds[i].Revents; got != 0 {
			events = append(events, event{fd: p.fds[i].Fd, tag: p.tags[i], events: Events(uint16(got))})
			n--
		}
	}
	return events, nil
}

func (p *pollSet) close() error { return nil }
