package tcp

import "time"

// state is what a connection waits for. In each one it may stay for a time that
// is the same for all connections, so those in it, in the order in which they
// came, are also in the order in which their time is up: there is a list for
// each state, and no timer for each connection.
type state uint8

const (
	idle      state = iota // for a request
	resting                // for the end of a line of which it has the beginning
	heading                // for the end of a request's head
	writing                // for room to write its answers
	lingering              // for its client to close, having closed its own side
	numStates
)

// list holds the connections in one state, linked through themselves.
type list struct {
	head, tail *conn
	len        int
	timeout    time.Duration
}

// push puts c at the end; it has the whole time-out from now on.
func (l *list) push(c *conn, now time.Duration) {
	c.since, c.prev, c.next = now, l.tail, nil
	if l.tail != nil {
		l.tail.next = c
	} else {
		l.head = c
	}
	l.tail = c
	l.len++
}

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
