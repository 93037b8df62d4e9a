package query

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/beevik/ntp"
)

// ExchangeNTP asks the NTP server at address, a host or host:port, and returns
// its answer, and from where that came. now reads the clock that the server's is
// compared with. ctx needs a deadline; until then an answer is waited for.
// Whatever a server sends, all that can come of it is an error.
func ExchangeNTP(ctx context.Context, address string, now func() time.Time) (r *ntp.Response, from netip.AddrPort, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("an answer that is of no use: %v", p)
		}
	}()
	release := func() {}
	defer func() { release() }()
	deadline, _ := ctx.Deadline()
	r, err = ntp.QueryWithOptions(address, ntp.QueryOptions{
		Timeout:       max(time.Until(deadline), time.Nanosecond),
		GetSystemTime: now,
		Dialer: func(_, address string) (net.Conn, error) {
			conn, _, closeConn, err := dial(ctx, "udp", address)
			if err != nil {
				return nil, err
			}
			// The library sets a deadline of its own. What ends with ctx must end
			// nevertheless.
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			release = func() { stop(); closeConn() }
			from, _ = netip.ParseAddrPort(conn.RemoteAddr().String())
			return &ntpConn{Conn: conn}, nil
		},
	})
	return r, from, err
}

// askNTP asks as a client of NTP version 4 does, with RFC 5905's arithmetic: the
// time between the receipt of the question and the sending of the answer is no
// part of the round trip.
func askNTP(ctx context.Context, h *Host) (Answer, error) {
	r, _, err := ExchangeNTP(ctx, h.addr, time.Now)
	if err != nil {
		return Answer{}, err
	}
	switch r.KissCode {
	case "", "INIT", "STEP": // that its clock is not in sync, which is no refusal
		return ntpAnswer(r), nil
	default:
		return Answer{}, fmt.Errorf("refused, with the kiss code %q", r.KissCode)
	}
}

func ntpAnswer(r *ntp.Response) Answer {
	a := Answer{
		Told: Told{
			Time:      r.Timestamps.ServerXmit.UTC(),
			Precision: time.Nanosecond,
			Sync:      Unsynced,
			Stratum:   int(r.Stratum),
		},
		RoundTrip: r.RTT,
		Offset:    r.ClockOffset,
		// How finely the server can read its clock; RFC 5905, section 7.3.
		Error: (r.RTT+1)/2 + min(max(r.Precision, time.Nanosecond), time.Second),
	}
	switch r.Leap {
	case ntp.LeapNoWarning:
		a.Leap = "none"
	case ntp.LeapAddSecond:
		a.Leap = "insert"
	case ntp.LeapDelSecond:
		a.Leap = "delete"
	}
	if r.Leap != ntp.LeapNotInSync && 0 < r.Stratum && r.Stratum < 16 {
		// The root distance, less what belongs to the way from here.
		a.Sync, a.HasBound, a.Bound = Synced, true, (r.RootDelay+1)/2+r.RootDispersion
	}
	return a
}
