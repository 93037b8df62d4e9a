package reactor

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A poller asks the kernel which descriptors are ready. One file holds one
// poller, and all have these five methods; everything else about events is the
// loop's. The tag given with a descriptor comes back with each of its events.
//
//	add     starts to watch fd. A fault is reported even for an empty mask.
//	modify  replaces fd's mask; an edge-triggered one is armed again.
//	remove  ends it. The descriptor may have been closed by then.
//	wait    appends what is ready to events. It waits at most timeout, rounded
//	        up to the poller's unit; for ever if that is negative; not at all
//	        if it is 0. EINTR is returned as it is.
//	close   gives back what the poller holds.
type poller interface {
	add(fd int, mask Events, tag uint32) error
	modify(fd int, mask Events, tag uint32) error
	remove(fd int) error
	wait(events []event, timeout time.Duration) ([]event, error)
	close() error
}

// event is what a poller reports of one descriptor.
type event struct {
	fd     int32
	tag    uint32
	events Events
}

// Pollers returns the names of the pollers of this platform, the best first.
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

// ceil returns timeout in the given unit, rounded up, so that a positive
// time-out never becomes none and the loop never spins through the last
// fraction of a unit. Negative stays negative; what is too long for the
// kernel's int is cut, and the loop waits again.
func ceil(timeout, unit time.Duration) int {
	if timeout < 0 {
		return -1
	}
	n := timeout / unit
	if timeout%unit != 0 {
		n++
	}
	return int(min(n, math.MaxInt32))
}
