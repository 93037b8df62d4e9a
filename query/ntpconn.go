package query

import (
	"bytes"
	"net"
)

// The header of an NTP packet, as far as it is looked at here: RFC 5905, section
// 7.3.
const (
	ntpHeader    = 48
	ntpPoll      = 2
	ntpPrecision = 3
	ntpOrigin    = 24
	ntpTransmit  = 40

	ntpServer = 4 // the mode of an answer
)

// ntpConn is a connection on which a client of NTP, which asks once, sees nothing
// but the answer: what is no answer to its request is passed over until the
// deadline, be it stray, forged, or one that would lead the client's arithmetic
// astray. It is for one goroutine.
type ntpConn struct {
	net.Conn
	asked [8]byte // the transmit timestamp of the request
}

// Write sends a request.
func (c *ntpConn) Write(b []byte) (int, error) {
	if len(b) >= ntpHeader {
		copy(c.asked[:], b[ntpTransmit:])
	}
	return c.Conn.Write(b)
}

// Read returns the answer.
func (c *ntpConn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || c.isAnswer(b[:n]) {
			return n, err
		}
	}
}

// isAnswer reports whether b answers the request. A precision or an interval of
// 2^-128 s is none: its sign cannot be turned round in eight bits.
func (c *ntpConn) isAnswer(b []byte) bool {
	const least = 0x80
	return len(b) >= ntpHeader && b[0]&7 == ntpServer &&
		bytes.Equal(b[ntpOrigin:ntpOrigin+8], c.asked[:]) &&
		b[ntpPoll] != least && b[ntpPrecision] != least
}
