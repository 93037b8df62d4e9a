package reactor

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pollPoller is the poller over poll(2).
type pollPoller struct {
	fds         []unix.PollFd
	generations []uint32      // generations[i] belongs to fds[i]
	index       map[int]int32 // from a descriptor to its index in fds
}

var _ poller = (*pollPoller)(nil)

func openPoll() (poller, error) { return &pollPoller{index: make(map[int]int32)}, nil }

func (p *pollPoller) add(fd int, mask Events, generation uint32) error {
	if mask&Edge != 0 {
		return ErrEdge
	}
	p.index[fd] = int32(len(p.fds))
	p.fds = append(p.fds, unix.PollFd{Fd: int32(fd), Events: int16(mask)})
	p.generations = append(p.generations, generation)
	return nil
}

func (p *pollPoller) modify(fd int, mask Events, generation uint32) error {
	if mask&Edge != 0 {
		return ErrEdge
	}
	i := p.index[fd]
	p.fds[i].Events = int16(mask)
	p.generations[i] = generation
	return nil
}

// remove fills the gap in fds with the last descriptor.
func (p *pollPoller) remove(fd int) error {
	i, last := p.index[fd], int32(len(p.fds)-1)
	p.fds[i], p.generations[i] = p.fds[last], p.generations[last]
	p.index[int(p.fds[i].Fd)] = i
	delete(p.index, fd)
	p.fds, p.generations = p.fds[:last], p.generations[:last]
	return nil
}

func (p *pollPoller) wait(events []event, timeout time.Duration) ([]event, error) {
	n, err := unix.Poll(p.fds, roundUp(timeout, time.Millisecond))
	if err != nil {
		return events, os.NewSyscallError("poll", err)
	}
	for i := 0; n > 0; i++ {
		if revents := p.fds[i].Revents; revents != 0 {
			events = append(events, event{fd: p.fds[i].Fd, generation: p.generations[i], events: Events(uint16(revents))})
			n--
		}
	}
	return events, nil
}

func (p *pollPoller) close() error { return nil }
