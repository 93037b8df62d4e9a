package query

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/beevik/ntp"
)

// askNTP asks as a client of NTP version 4 does, with RFC 5905's arithmetic: the
// time between the receipt of the question and the sending of the answer is no
// part of the round trip.
func askNTP(ctx context.Context, h *Host) (Answer, error) {
	conn, _, release, err := dial(ctx, "udp", h.addr)
	if err != nil {
		return Answer{}, err
	}
	defer release()
	// The library sets a deadline of its own. What ends with ctx must end
	// nevertheless.
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	deadline, _ := ctx.Deadline()
	r, err := ntp.QueryWithOptions(h.addr, ntp.QueryOptions{
		Timeout: max(time.Until(deadline), time.Nanosecond),
		Dialer:  func(string, string) (net.Conn, error) { return &NTPConn{Conn: conn}, nil },
	})
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
