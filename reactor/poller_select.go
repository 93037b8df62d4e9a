package reactor

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// selectSet is the poller over select(2), for descriptors below FD_SETSIZE.
// A socket's error or hang-up shows there as PollIn or PollOut, so one with an
// empty mask shows nothing.
type selectSet struct {
	read, write unix.FdSet
	used        [unix.FD_SETSIZE]bool
	tags        [unix.FD_SETSIZE]uint32
	width       int // the highest descriptor used, and one
}

func openSelect() (poller, error) { return new(selectSet), nil }

func (p *selectSet) add(fd int, mask Events, tag uint32) error {
	if fd >= unix.FD_SETSIZE {
		return fmt.Errorf("select: descriptor %d: want one below FD_SETSIZE, %d", fd, unix.FD_SETSIZE)
	}
	if err := p.modify(fd, mask, tag); err != nil {
		return err
	}
	p.used[fd] = true
	p.width = max(p.width, fd+1)
	return nil
}

func (p *selectSet) modify(fd int, mask Events, tag uint32) error {
	if mask&Edge != 0 {
		return ErrEdge
	}
	put(&p.read, fd, mask&PollIn != 0)
	put(&p.write, fd, mask&PollOut != 0)
	p.tags[fd] = tag
	return nil
}

func put(set *unix.FdSet, fd int, in bool) {
	if in {
		set.Set(fd)
	} else {
		set.Clear(fd)
	}
}

func (p *selectSet) remove(fd int) error {
	p.read.Clear(fd)
	p.write.Clear(fd)
	p.used[fd] = false
	for p.width > 0 && !p.used[p.width-1] {
		p.width--
	}
	return nil
}

func (p *selectSet) wait(events []event, timeout time.Duration) ([]event, error) {
	read, write := p.read, p.write
	n, err := unix.Select(p.width, &read, &write, nil, timeval(timeout))
	if errors.Is(err, unix.EBADF) {
		return p.closed(events), nil
	}
	if err != nil {
		return events, os.NewSyscallError("select", err)
	}
	for fd := 0; n > 0 && fd < p.width; fd++ {
		var got Events
		if read.IsSet(fd) {
			got |= PollIn
			n--
		}
		if write.IsSet(fd) {
			got |= PollOut
			n--
		}
		if got != 0 {
			events = append(events, event{fd: int32(fd), tag: p.tags[fd], events: got})
		}
	}
	return events, nil
}

// closed reports the descriptors that are not open: one of them is enough for
// select to fail, without a word about which.
func (p *selectSet) closed(events []event) []event {
	for fd := range p.width {
		if !p.used[fd] {
			continue
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			events = append(events, event{fd: int32(fd), tag: p.tags[fd], events: PollNval})
		}
	}
	return events
}

// timeval returns nil, which is for ever, for a negative time-out.
func timeval(timeout time.Duration) *unix.Timeval {
	if timeout < 0 {
		return nil
	}
	tv := unix.NsecToTimeval(int64(ceil(timeout, time.Microsecond)) * int64(time.Microsecond))
	return &tv
}

func (p *selectSet) close() error { return nil }
