package reactor

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A poller asks the kernel which descriptors are ready. Each poller has a file
// of its own. A port to another system call provides these five methods. Each
// event carries the generation that was passed for its descriptor.
//
//	add     starts to watch fd. The mask may be empty: the events in
//	        alwaysReported are reported anyway. add returns ErrEdge for a mask
//	        with Edge if the poller does not support it.
//	modify  replaces fd's mask, and arms an edge-triggered fd again. It returns
//	        ErrEdge for a mask with Edge if the poller does not support it.
//	remove  stops watching fd, which may have been closed already.
//	wait    appends the events that are ready. It waits at most timeout, rounded
//	        up to the poller's unit; for ever if timeout is negative; not at
//	        all if it is 0. The error may be EINTR, comparable with errors.Is.
//	close   releases the poller's resources.
type poller interface {
	add(fd int, mask Events, generation uint32) error
	modify(fd int, mask Events, generation uint32) error
	remove(fd int) error
	wait(events []event, timeout time.Duration) ([]event, error)
	close() error
}

// An event is what a poller reports for one descriptor.
type event struct {
	fd         int32
	generation uint32
	events     Events
}

// Pollers returns the names of this system's pollers, the best first.
func Pollers() []string {
	names := make([]string, len(pollers))
	for i, p := range pollers {
		names[i] = p.name
	}
	return names
}

type namedPoller struct {
	name string
	open func() (poller, error)
}

func openPoller(name string) (poller, error) {
	if name == "" || name == "auto" {
		return pollers[0].open()
	}
	i := slices.IndexFunc(pollers, func(p namedPoller) bool { return p.name == name })
	if i < 0 {
		return nil, fmt.Errorf("poller %q: want auto, %s", name, strings.Join(Pollers(), ", "))
	}
	return pollers[i].open()
}

// roundUp returns timeout in units, rounded up, or -1 if timeout is negative. A
// positive timeout never becomes 0, so the loop does not spin through the last
// fraction of a unit. A timeout that is too long for the kernel's int is cut.
// The loop then waits again.
func roundUp(timeout, unit time.Duration) int {
	if timeout < 0 {
		return -1
	}
	n := timeout / unit
	if timeout%unit != 0 {
		n++
	}
	return int(min(n, math.MaxInt32))
}
