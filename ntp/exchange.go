package ntp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	beevik "github.com/beevik/ntp"
)

// Response is the result of one exchange with a server.
type Response struct {
	Server netip.AddrPort // the address that was asked, and answered

	Sent, Received time.Time     // when the request left and the answer arrived, by the client's clock
	Transmit       time.Time     // when the answer left, by the server's clock
	Offset         time.Duration // of the server's clock from the client's; positive if the server's is ahead
	Delay          time.Duration // the round trip, without the time between the server's receive and transmit timestamps

	Leap           Leap
	Stratum        uint8
	Precision      time.Duration // resolution of the server's clock; not checked
	RootDelay      time.Duration
	RootDispersion time.Duration
	KissCode       KissCode // of stratum 0; empty otherwise

	// Invalid is why a clock must not be compared with the server's: the server
	// is not synchronised, or the response breaks a rule of RFC 5905. It is nil
	// if the response is good.
	Invalid error
}

// Synchronized reports whether the server says that its clock is synchronised.
func (r *Response) Synchronized() bool {
	return r.Leap != LeapUnsynchronized && StratumUnspecified < r.Stratum && r.Stratum <= MaxStratum
}

// RootDistance returns how far off Offset may be as an offset from true time, if
// the server is right: half the delay all the way from the primary server, and
// the root dispersion. RFC 5905, appendix A.5.5.2.
func (r *Response) RootDistance() time.Duration {
	return (r.Delay+r.RootDelay)/2 + r.RootDispersion
}

// Exchange sends one request of version 4 to the server at address, a host or
// host:port, and returns its response. now reads the client's clock. Exchange
// waits until ctx is done, or 5 s if ctx has no deadline.
//
// It passes over datagrams that do not answer the request. Whatever a server
// sends, the worst result is an error.
func Exchange(ctx context.Context, address string, now func() time.Time) (r *Response, err error) {
	defer func() {
		if p := recover(); p != nil { // the library's arithmetic, on fields that isAnswer lets through
			r, err = nil, fmt.Errorf("an answer that cannot be used: %v", p)
		}
	}()
	var server netip.AddrPort
	cancelClose := func() bool { return true }
	defer func() { cancelClose() }()
	answer := new(answerConn)
	options := beevik.QueryOptions{
		Version: MaxVersion,
		// The library reads the clock before it sends and after it has received.
		GetSystemTime: func() time.Time { return answer.arrival(now) },
		Dialer: func(_, address string) (net.Conn, error) {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "udp", address)
			if err != nil {
				return nil, err
			}
			// The library knows of the deadline only. Closing the socket ends the
			// exchange when ctx is cancelled.
			cancelClose = context.AfterFunc(ctx, func() { _ = conn.Close() })
			server, _ = netip.ParseAddrPort(conn.RemoteAddr().String())
			answer.Conn, answer.dialed = conn, time.Now()
			if udp, ok := conn.(*net.UDPConn); ok && enableTimestamps(udp) == nil {
				answer.udp = udp
			}
			return answer, nil
		},
	}
	if deadline, ok := ctx.Deadline(); ok {
		options.Timeout = max(time.Until(deadline), time.Nanosecond) // 0 would be the library's default
	}
	response, err := beevik.QueryWithOptions(address, options)
	switch {
	case errors.Is(err, net.ErrClosed) && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, os.ErrDeadlineExceeded // ctx was faster than the socket's own deadline
	case err != nil:
		return nil, err
	}
	return newResponse(response, server), nil
}

func newResponse(r *beevik.Response, server netip.AddrPort) *Response {
	return &Response{
		Server:         server,
		Sent:           r.Timestamps.ClientXmit,
		Received:       r.Timestamps.ClientRecv,
		Transmit:       r.Timestamps.ServerXmit,
		Offset:         r.ClockOffset,
		Delay:          r.RTT,
		Leap:           Leap(r.Leap),
		Stratum:        r.Stratum,
		Precision:      r.Precision,
		RootDelay:      r.RootDelay,
		RootDispersion: r.RootDispersion,
		KissCode:       KissCode(r.KissCode),
		Invalid:        r.Validate(),
	}
}

// answerConn is a connection to a server on which a client that sends one
// request reads only the answer to it. Read drops every other datagram, until
// the deadline: a stray or forged one would end the exchange, and some answers
// would make the library's arithmetic panic. It is for one goroutine.
type answerConn struct {
	net.Conn
	asked   Time         // transmit timestamp of the request
	udp     *net.UDPConn // Conn, if the kernel tells when it receives a datagram
	dialed  time.Time
	stamped time.Time // when the kernel received the answer, by the host's clock; zero where unknown
	control [controlSize]byte
}

var _ net.Conn = (*answerConn)(nil)

// Write sends a request.
func (c *answerConn) Write(b []byte) (int, error) {
	if request, ok := Parse(b); ok {
		c.asked = request.Transmit
	}
	return c.Conn.Write(b)
}

// Read returns the answer.
func (c *answerConn) Read(b []byte) (int, error) {
	for {
		n, err := c.read(b)
		if err != nil || c.isAnswer(b[:n]) {
			return n, err
		}
	}
}

// read reads a datagram and its timestamp.
func (c *answerConn) read(b []byte) (n int, err error) {
	if c.udp == nil {
		return c.Conn.Read(b)
	}
	n, control, _, _, err := c.udp.ReadMsgUDPAddrPort(b, c.control[:])
	c.stamped = timestamp(c.control[:control])
	return n, err
}

// arrival returns the time at which the answer arrived, by the clock that now
// reads; without a timestamp of the kernel's it is the time of the call. The
// process may have been woken late.
func (c *answerConn) arrival(now func() time.Time) time.Time {
	host := time.Now() // before now, so that what comes in between makes the arrival later, not earlier
	t := now()
	waited := host.Round(0).Sub(c.stamped)
	if c.stamped.IsZero() || waited < 0 || waited > host.Sub(c.dialed) { // the host's clock was set
		return t
	}
	return t.Add(-waited)
}

// isAnswer reports whether b answers the request. An answer with the exponent
// -128 for its poll interval or precision is refused: the library negates it in
// eight bits, which leaves it negative, and shifts by it.
func (c *answerConn) isAnswer(b []byte) bool {
	const least = -128
	p, ok := Parse(b)
	return ok && p.Mode == ModeServer && p.Origin == c.asked && p.Poll != least && p.Precision != least
}
