package tcp

import (
	"golang.org/x/sys/unix"

	"nowd/reactor"
	"nowd/socket"
)

// maxDrainReads is the maximum number of reads from one connection in one event at
// shutdown.
const maxDrainReads = 16

// drain answers the input that had arrived at Shutdown, and then closes the connection.
// It reads at most maxDrainReads times; Ready calls it again for the rest.
func (c *conn) drain() {
	for n := 0; n < maxDrainReads || c.owed == 0; n++ {
		in, ok := c.receive()
		if !ok {
			if c.waitsForInput() { // no more input: a partial line is a request
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

// lingeringClose half-closes the connection: the client gets the end of file after the
// last answer. Further input is read and discarded until the client closes its side, or
// until a timeout (see lingerTimeOut). If the server closed at once, further input would
// make the kernel send a reset, which can overtake the last answer.
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

// closeAcknowledged closes a connection whose client has half-closed, once the client has
// acknowledged everything. If the server closed it earlier, the kernel would still keep
// the answers, and no limit would count them.
func (c *conn) closeAcknowledged() {
	if socket.Unsent(int(c.fd)) == 0 || unix.Shutdown(int(c.fd), unix.SHUT_WR) != nil {
		c.close()
		return
	}
	// The kernel would report a connection with both sides half-closed in every wait.
	_ = c.server.loop.Remove(int(c.fd))
	c.linger(acknowledging)
}

// linger moves c to state lingering or acknowledging.
func (c *conn) linger(st state) {
	c.unparsed, c.unsent, c.unacked = nil, nil, 0
	c.enter(st, false)
	if c.unmeasured >= measureAfter || c.held > 0 {
		c.account(true)
	}
	c.server.capLingering()
}

// discard reads and discards input of a lingering connection. At the end of file it calls
// closeAcknowledged.
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

// reset closes a connection with a reset and adds 1 to counter. The kernel then drops the
// unacknowledged answers.
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

// release closes the descriptor of c and makes c available for reuse. c must not be
// registered.
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
