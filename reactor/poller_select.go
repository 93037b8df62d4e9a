package reactor

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// selectPoller is the poller over select(2), for descriptors below FD_SETSIZE.
// select reports a socket's error or hang-up as readable or writable, so never
// if the mask is empty.
type selectPoller struct {
	read, write unix.FdSet
	watched     [unix.FD_SETSIZE]bool
	generations [unix.FD_SETSIZE]uint32
	nfds        int // the highest watched descriptor plus one
}

var _ poller = (*selectPoller)(nil)

func openSelect() (poller, error) { return new(selectPoller), nil }

func (p *selectPoller) add(fd int, mask Events, generation uint32) error {
	if fd >= unix.FD_SETSIZE {
		return fmt.Errorf("select: descriptor %d: want one below FD_SETSIZE, %d", fd, unix.FD_SETSIZE)
	}
	if err := p.modify(fd, mask, generation); err != nil {
		return err
	}
	p.watched[fd] = true
	p.nfds = max(p.nfds, fd+1)
	return nil
}

func (p *selectPoller) modify(fd int, mask Events, generation uint32) error {
	if mask&Edge != 0 {
		return ErrEdge
	}
	setMember(&p.read, fd, mask&PollIn != 0)
	setMember(&p.write, fd, mask&PollOut != 0)
	p.generations[fd] = generation
	return nil
}

func setMember(set *unix.FdSet, fd int, member bool) {
	if member {
		set.Set(fd)
	} else {
		set.Clear(fd)
	}
}

func (p *selectPoller) remove(fd int) error {
	p.read.Clear(fd)
	p.write.Clear(fd)
	p.watched[fd] = false
	for p.nfds > 0 && !p.watched[p.nfds-1] {
		p.nfds--
	}
	return nil
}

func (p *selectPoller) wait(events []event, timeout time.Duration) ([]event, error) {
	readable, writable := p.read, p.write
	n, err := unix.Select(p.nfds, &readable, &writable, nil, timeval(timeout))
	if errors.Is(err, unix.EBADF) {
		return p.appendClosed(events), nil
	}
	if err != nil {
		return events, os.NewSyscallError("select", err)
	}
	for fd := 0; n > 0 && fd < p.nfds; fd++ {
		var ready Events
		if readable.IsSet(fd) {
			ready |= PollIn
			n--
		}
		if writable.IsSet(fd) {
			ready |= PollOut
			n--
		}
		if ready != 0 {
			events = append(events, event{fd: int32(fd), generation: p.generations[fd], events: ready})
		}
	}
	return events, nil
}

// appendClosed appends PollNval for each watched descriptor that is not open.
// select fails with EBADF if there is one, without saying which.
func (p *selectPoller) appendClosed(events []event) []event {
	for fd := range p.nfds {
		if !p.watched[fd] {
			continue
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			events = append(events, event{fd: int32(fd), generation: p.generations[fd], events: PollNval})
		}
	}
	return events
}

// timeval returns timeout as select takes it: nil, for ever, if it is negative.
func timeval(timeout time.Duration) *unix.Timeval {
	if timeout < 0 {
		return nil
	}
	tv := unix.NsecToTimeval(int64(roundUp(timeout, time.Microsecond)) * int64(time.Microsecond))
	return &tv
}

func (p *selectPoller) close() error { return nil }
