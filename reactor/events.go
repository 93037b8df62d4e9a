package reactor

import "strings"

// Events is a set of events. The names and values are those of poll(2), for all
// pollers.
type Events uint32

const (
	PollIn   Events = 0x01 // readable: data has arrived, or the peer has half-closed
	PollOut  Events = 0x04 // writable
	PollErr  Events = 0x08 // an error is pending; always reported
	PollHup  Events = 0x10 // both sides are closed; always reported
	PollNval Events = 0x20 // the descriptor is not open; always reported

	// Edge makes an interest edge-triggered: an event is reported once for each
	// change of state, so the handler must read or write until EAGAIN. Only the
	// epoll poller supports it.
	Edge Events = 1 << 31
)

// alwaysReported are the events that the kernel reports even if they are not in
// the interest, in every wait until the cause is gone.
const alwaysReported = PollErr | PollHup | PollNval

var eventNames = [...]struct {
	event Events
	name  string
}{
	{PollIn, "IN"}, {PollOut, "OUT"}, {PollErr, "ERR"}, {PollHup, "HUP"}, {PollNval, "NVAL"}, {Edge, "EDGE"},
}

// String lists the events by their names in poll(2): "IN|HUP".
func (e Events) String() string {
	var names []string
	for _, n := range eventNames {
		if e&n.event != 0 {
			names = append(names, n.name)
		}
	}
	if names == nil {
		return "0"
	}
	return strings.Join(names, "|")
}
