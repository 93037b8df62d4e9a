package query

import (
	"context"
	"fmt"
	"time"

	"nowd/ntp"
)

// askNTP asks as a client of NTP version 4 (RFC 5905). The round trip excludes the time
// between the server's receive and transmit timestamps.
func askNTP(ctx context.Context, h *Host) (Answer, error) {
	r, err := ntp.Exchange(ctx, h.addr, time.Now)
	if err != nil {
		return Answer{}, err
	}
	switch r.KissCode {
	case "", ntp.KissInit, ntp.KissStep: // these codes only say that the server is not synchronised
		return ntpAnswer(r), nil
	default:
		return Answer{}, fmt.Errorf("refused with the kiss code %q", r.KissCode)
	}
}

func ntpAnswer(r *ntp.Response) Answer {
	a := Answer{
		Reading: Reading{
			Time:      r.Transmit.UTC(),
			Precision: time.Nanosecond,
			Sync:      Unsynced,
			Stratum:   int(r.Stratum),
		},
		RoundTrip: r.Delay,
		Offset:    r.Offset,
		Error:     (r.Delay+1)/2 + min(max(r.Precision, time.Nanosecond), time.Second),
	}
	if leap, ok := r.Leap.Known(); ok {
		a.Leap = leap.String()
	}
	if r.Synchronized() {
		// The root distance, without half of the round trip to this host.
		a.Sync, a.HasBound, a.Bound = Synced, true, (r.RootDelay+1)/2+r.RootDispersion
	}
	return a
}
