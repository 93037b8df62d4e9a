package ntp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"time"

	beevik "github.com/beevik/ntp"
)

// Response is the result of one exchange with a server.
type Response struct {
	Server netip.AddrPort // the server's address

	Sent, Received time.Time     // when the request left and the answer arrived, by the client's clock
	Transmit       time.Time     // when the answer left, by the server's clock
	Offset         time.Duration // of the server's clock from the client's; positive if the server's is ahead
	Delay          time.Duration // the round trip, without the time between the server's receive and transmit timestamps

	Leap           Leap
	Stratum        uint8
	Precision      time.Duration // resolution of the server's clock
	RootDelay      time.Duration
	RootDispersion time.Duration
	KissCode       KissCode // at stratum 0; otherwise empty

	// Invalid is the reason why Offset must not be used: for example, that the
	// server says it is not synchronised. It is nil if the response is valid.
	Invalid error
}

// Synchronized reports whether the server says that its clock is synchronised.
func (r *Response) Synchronized() bool { return synchronized(r.Leap, r.Stratum) }

// RootDistance returns an upper bound on the error of Offset as an offset from true
// time, if the server is right: half the delay on the whole way from the primary
// server, plus the root dispersion. RFC 5905, appendix A.5.5.2.
func (r *Response) RootDistance() time.Duration {
	return (r.Delay+r.RootDelay)/2 + r.RootDispersion
}

// Port is the default port of a server.
const Port = 123

// Resolve returns the address to which Exchange would send a request now. address is
// a host or host:port. For a name with several addresses, it is the first one to
// which this host has a route.
func Resolve(ctx context.Context, address string) (netip.AddrPort, error) {
	port := strconv.Itoa(Port)
	if _, err := netip.ParseAddr(address); err == nil {
		address = net.JoinHostPort(address, port)
	} else if _, _, err := net.SplitHostPort(address); err != nil {
		address += ":" + port
	}
	conn, err := new(net.Dialer).DialContext(ctx, "udp", address) // over UDP, this sends no datagram
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer func() { _ = conn.Close() }()
	return remote(conn), nil
}

// remote returns the address at the other end of a connection.
func remote(conn net.Conn) netip.AddrPort {
	at, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// Exchange sends one request of version 4 to the server at address, a host or
// host:port, and returns its response. now reads the client's clock. Exchange waits
// until ctx is done, or 5 s if ctx has no deadline.
//
// It ignores datagrams that do not answer the request, and answers with a field
// outside its plausible range. If it has ignored an answer and no other one comes,
// the error wraps ErrImplausible. No datagram can make it panic.
func Exchange(ctx context.Context, address string, now func() time.Time) (r *Response, err error) {
	defer func() {
		if p := recover(); p != nil { // by the library's arithmetic, on an answer that accepts has let through
			r, err = nil, fmt.Errorf("unusable answer: %v", p)
		}
	}()
	var server netip.AddrPort
	answer := new(answerConn)
	cancelClose := func() bool { return true }
	defer func() { cancelClose() }()
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
			// The library has only the deadline. Closing the socket ends the exchange
			// when ctx is cancelled.
			cancelClose = context.AfterFunc(ctx, func() { _ = conn.Close() })
			server = remote(conn)
			answer.Conn = conn
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
	if err == nil {
		return newResponse(response, server), nil
	}
	if errors.Is(err, net.ErrClosed) && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		err = os.ErrDeadlineExceeded // ctx expired before the socket's own deadline
	}
	if answer.dropErr != nil {
		err = fmt.Errorf("%w; no other answer: %w", answer.dropErr, err)
	}
	return nil, err
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

// answerConn is a connection to a server for one request. Read returns only a
// plausible answer to it, and drops all other datagrams, until the deadline. A stray
// or forged datagram would end the library's exchange, and some answers would make
// its arithmetic panic. answerConn is for one goroutine.
type answerConn struct {
	net.Conn
	origin   Time         // transmit timestamp of the request: the answer's Origin
	sent     time.Time    // when the request was sent, by the host's clock
	dropErr  error        // why the last answer was dropped: an ErrImplausible, or nil
	udp      *net.UDPConn // Conn, if the kernel gives timestamps
	received time.Time    // when the kernel received the answer, by the host's clock; zero if unknown
	control  [controlSize]byte
}

var _ net.Conn = (*answerConn)(nil)

// Write sends a request.
func (c *answerConn) Write(b []byte) (int, error) {
	if request, ok := Parse(b); ok {
		c.origin = request.Transmit
	}
	c.sent = time.Now()
	return c.Conn.Write(b)
}

// Read returns the answer.
func (c *answerConn) Read(b []byte) (int, error) {
	for {
		n, err := c.read(b)
		if err != nil || c.accepts(b[:n]) {
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
	c.received = timestamp(c.control[:control])
	return n, err
}

// arrival returns when the answer arrived, by the clock that now reads. It uses the
// kernel's timestamp, because the process may be woken late. Without a timestamp it
// returns the current time.
func (c *answerConn) arrival(now func() time.Time) time.Time {
	host := time.Now() // before now(): a pause in between makes the arrival later, not earlier
	t := now()
	waited := host.Round(0).Sub(c.received)
	if c.received.IsZero() || waited < 0 || waited > host.Sub(c.sent) { // the host's clock was set
		return t
	}
	return t.Add(-waited)
}

// accepts reports whether b answers the request and is plausible.
func (c *answerConn) accepts(b []byte) bool {
	took := time.Since(c.sent)
	p, ok := Parse(b)
	if !ok || p.Mode != ModeServer || p.Origin != c.origin {
		return false
	}
	c.dropErr = p.plausible(took)
	return c.dropErr == nil
}
