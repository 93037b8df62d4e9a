package tcp

import "time"

// state is what a connection waits for. docs/internals.md shows the states in diagrams.
//
//   - An accepted connection is asking. If its source is over the limit, it is queued first.
//   - Answering is not a state: it happens within one call of the loop. After it the
//     connection is writing if the send buffer is full. Otherwise it is idle, or partialLine
//     or partialHead if the input ends with a part of a request. With Framing Line it is
//     asking again if the input ends with a part of a line.
//   - A writing connection goes on answering when the socket is writable.
//   - After HTTP, a server-first answer, an idle timeout, an eviction or Shutdown a
//     connection is lingering.
//   - When the client has half-closed and all answers are sent, the connection is
//     acknowledging. It is closed at once if the client has acknowledged everything already.
//
// All connections in a state have the same timeout. So a list of them in the order in
// which they entered the state is also in the order of their timeouts, and no connection
// needs its own timer.
type state uint8

// The states, by what a connection waits for.
const (
	queued        state = iota // until its source is below its connection limit
	asking                     // for the client's first request; with Framing Line, also for the rest of any partial line
	idle                       // for another request
	partialLine                // for the rest of a partial line
	partialHead                // for the rest of an HTTP head
	writing                    // until the socket is writable
	lingering                  // until the client half-closes; the server has half-closed
	acknowledging              // until the client has acknowledged everything; both sides have half-closed
	numStates
)

// forInput reports whether a connection in this state waits for its client to send.
func (st state) forInput() bool { return st >= asking && st < writing }

// waitingForInput lists the states for which forInput holds.
var waitingForInput = [...]state{asking, idle, partialHead, partialLine}

// unfinished lists the states in which the client has sent nothing yet, or has sent part
// of a request and got no answer to it.
var unfinished = [...]state{asking, partialHead, partialLine}

// list is a linked list of the connections in one state, in the order of their timeouts.
type list struct {
	head, tail *conn
	len        int
	timeout    time.Duration
}

// push appends c and starts its timeout.
func (l *list) push(c *conn, now time.Duration) {
	c.entered, c.prev, c.next = now, l.tail, nil
	if l.tail != nil {
		l.tail.next = c
	} else {
		l.head = c
	}
	l.tail = c
	l.len++
}

// remove removes c. It must be in the list.
func (l *list) remove(c *conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.tail = c.prev
	}
	c.prev, c.next = nil, nil
	l.len--
}
