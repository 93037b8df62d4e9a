package tcp

import "time"

// state is what a connection waits for.
//
//	accept ──▶ asking, then like idle
//	       └─▶ queued ─▶ asking, or closed
//	           idle ◀────────────── all answers sent ───────────────┐
//	            │                                                    │
//	            ├─ request ────────────────────────────▶ answering ──┤
//	            ├─ part of a line ─▶ partialLine ─┐       ▲     ▲    │
//	            └─ part of a head ─▶ partialHead ─┤       │     │    │
//	                        the rest, or time-out └───────┘     │    │
//	                                                            │    │
//	                                           writable again ──┤    │
//	                                                         writing ◀┤ socket full
//	                                                            │    │
//	                                                   time-out └─▶ closed (reset)
//	                                                                 │
//	  HTTP, server-first, eviction, idle time-out, shutdown ─▶ lingering
//	                                                                 │
//	                 the client has half-closed ─▶ acknowledging ◀───┤
//	                                                    └────────────┴─▶ closed
//
// Answering is no state: it takes one turn of the loop. If a client that half-closes
// has acknowledged all, its connection is closed at once.
//
// A time-out belongs to a state and is the same for all connections. So a list of
// the connections in a state, in the order in which they entered it, is also in
// the order in which they time out, and no connection needs a timer of its own.
type state uint8

const (
	queued        state = iota // for a place of its source, which has as many connections as it may
	asking                     // for the client's first request; with Framing Line, for the rest of any line
	idle                       // for another request
	partialLine                // for the end of a line whose beginning has been read
	partialHead                // for the end of an HTTP head whose beginning has been read
	writing                    // until the socket is writable again
	lingering                  // until the client closes: the server has half-closed (lingering close)
	acknowledging              // until the client has acknowledged all: both have half-closed
	numStates
)

// forInput reports whether the server waits for its client to send.
func (st state) forInput() bool { return st >= asking && st < writing }

// waitingForInput are the states in which the server waits for its client to send.
var waitingForInput = [...]state{asking, idle, partialHead, partialLine}

// unfinished are those of them in which the client has got nothing for what it has
// sent last, or has sent nothing yet.
var unfinished = [...]state{asking, partialHead, partialLine}

// list is the list of the connections in one state, linked through the connections.
type list struct {
	head, tail *conn
	len        int
	timeout    time.Duration
}

// push appends c, whose time-out starts now.
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

// remove removes c, which is in the list.
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
