package tcp

import (
	"golang.org/x/sys/unix"

	"nowd/reactor"
	"nowd/socket"
)

// maxDrainReads is the greatest number of reads from one connection in one event at
// shutdown.
const maxDrainReads = 16

// drain answers what the client had sent by the time of Shutdown, and then closes the
// connection. It bounds its work: if the client has sent much, it answers a part, and
// Ready calls it again.
func (c *conn) drain() {
	for n := 0; n < maxDrainReads || c.owed == 0; n++ {
		in, ok := c.receive()
		if !ok {
			if c.waitsForInput() { // nothing more comes: a partial line is a request
				c.timedOut = true
				c.serve(c.unparsed)
			}
			if c.waitsForInput() {
				c.lingeringClose()
			}
			return
		}
		if c.serve(in); !c.waitsForInput() {
			return
		}
	}
}

// lingeringClose half-closes the connection: the client gets the end of file after
// the last answer. What the client still sends is read and discarded until it closes
// its side, or until a time-out (see lingerTimeOut). If the server closed at once,
// the kernel would send a reset, which can overtake the last answer.
func (c *conn) lingeringClose() {
	if c.eof {
		c.closeAcknowledged()
		return
	}
	if unix.Shutdown(int(c.fd), unix.SHUT_WR) != nil {
		c.close()
		return
	}
	_ = c.server.loop.Modify(int(c.fd), reactor.PollIn)
	c.linger(lingering)
}

// closeAcknowledged closes a connection whose client has half-closed, when the client
// has acknowledged all. If the server closed it earlier, the kernel would keep the
// answers all the same, and no limit would count them.
func (c *conn) closeAcknowledged() {
	if socket.Unsent(int(c.fd)) == 0 || unix.Shutdown(int(c.fd), unix.SHUT_WR) != nil {
		c.close()
		return
	}
	// Both sides are closed, which the kernel would report in every wait.
	_ = c.server.loop.Remove(int(c.fd))
	c.linger(acknowledging)
}

// linger moves a connection that serves no more to a state.
func (c *conn) linger(st state) {
	c.unparsed, c.unsent, c.unacked = nil, nil, 0
	c.enter(st, false)
	if c.unmeasured >= measureAfter || c.held > 0 {
		c.account(true)
	}
	c.server.capLingering()
}

// discard reads what the client of a lingering connection still sends, until the
// client half-closes.
func (c *conn) discard() {
	n, err := socket.Read(int(c.fd), c.server.in)
	switch {
	case n > 0 || err != nil && socket.ActionFor(socket.Reading, err) == socket.Ignore:
	case err != nil:
		c.close()
	default:
		c.closeAcknowledged()
	}
}

// fail closes a connection whose socket has an error.
func (c *conn) fail() {
	c.server.config.Counters.add(counterFailed)
	c.close()
}

// reset closes a connection with a reset, so that the kernel drops the answers that
// the client did not read, and counts it.
func (c *conn) reset(counter int) {
	c.server.config.Counters.add(counter)
	_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	c.close()
}

// close closes the connection.
func (c *conn) close() {
	_ = c.server.loop.Remove(int(c.fd))
	c.release()
}

// release closes the descriptor of c, which is not registered any more, and gives c
// back to the server.
func (c *conn) release() {
	s := c.server
	_ = unix.Close(int(c.fd))
	if s.config.Sources != nil {
		s.releaseSource(c)
	}
	s.lists[c.state].remove(c)
	if c.held > 0 {
		s.charges.remove(c)
	}
	if s.receivedBy == c {
		s.received, s.receivedBy = nil, nil
	}
	*c = conn{server: s, fd: -1, next: s.free}
	s.free = c
	s.connClosed()
}
