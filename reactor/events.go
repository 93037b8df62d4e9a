package reactor

import "strings"

// Events is a set of the events of poll(2), with its names and values,
// whichever poller waits for them.
type Events uint32

const (
	PollIn   Events = 0x01 // there is something to read, or the peer has closed its side
	PollOut  Events = 0x04 // there is room to write
	PollErr  Events = 0x08 // an error is pending; reported whether asked for or not
	PollHup  Events = 0x10 // both sides are closed; reported whether asked for or not
	PollNval Events = 0x20 // the descriptor is not open; reported whether asked for or not

	// Edge asks for edge-triggered events: one per change of state, so the
	// handler reads or writes until EAGAIN. Only epoll has it.
	Edge Events = 1 << 31
)

// faults are the events that a kernel reports unasked, and for ever if
// nobody does anything about them.
const faults = PollErr | PollHup | PollNval

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
