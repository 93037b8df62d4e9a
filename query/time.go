package query

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"time"
)

// askTimeUDP asks by RFC 868 with a datagram.
func askTimeUDP(ctx context.Context, h *Host) (Answer, error) {
	b, sent, received, err := datagram(ctx, h.addr, []byte("\n"))
	if err != nil {
		return Answer{}, err
	}
	if len(b) != 4 {
		return Answer{}, fmt.Errorf("%d bytes; RFC 868 has 4", len(b))
	}
	return newAnswer("", parseTime([4]byte(b), received), sent, received), nil
}

// askTimeTCP asks by RFC 868 with a connection. The host may answer as soon as
// it is asked for one, so the round trip begins there.
func askTimeTCP(ctx context.Context, h *Host) (Answer, error) {
	conn, sent, release, err := dial(ctx, "tcp", h.addr)
	if err != nil {
		return Answer{}, err
	}
	defer release()
	var b [4]byte
	switch n, err := io.ReadFull(conn, b[:]); {
	case err == io.EOF:
		return Answer{}, errClosed
	case err == io.ErrUnexpectedEOF:
		return Answer{}, fmt.Errorf("%d bytes; RFC 868 has 4", n)
	case err != nil:
		return Answer{}, err
	}
	received := time.Now()
	return newAnswer("", parseTime(b, received), sent, received), nil
}

// parseTime reads the seconds since 1900 of RFC 868. They wrap every 136 years;
// meant is the time nearest to now.
func parseTime(b [4]byte, now time.Time) Told {
	const from1900To1970 = 2208988800 // seconds; RFC 868
	sec := int64(binary.BigEndian.Uint32(b[:])) - from1900To1970
	sec += int64(math.Round(float64(now.Unix()-sec)/(1<<32))) << 32
	return Told{Time: time.Unix(sec, 0).UTC(), Precision: time.Second}
}
