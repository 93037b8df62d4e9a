package query

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"time"

	"nowd/ntp"
)

// timeSize is the length of an answer of RFC 868, in bytes.
const timeSize = 4

// askTimeUDP asks for the time of RFC 868 over UDP.
func askTimeUDP(ctx context.Context, h *Host) (Answer, error) {
	b, sent, received, err := exchangeDatagram(ctx, h.addr, []byte("\n"))
	if err != nil {
		return Answer{}, err
	}
	if len(b) != timeSize {
		return Answer{}, fmt.Errorf("an answer of %d bytes; RFC 868 wants %d", len(b), timeSize)
	}
	return newAnswer("", parseTime([timeSize]byte(b), received), sent, received), nil
}

// askTimeTCP asks for the time of RFC 868 over TCP. The host may answer as soon as the
// connection is requested, so the round trip begins there.
func askTimeTCP(ctx context.Context, h *Host) (Answer, error) {
	conn, sent, release, err := dial(ctx, "tcp", h.addr)
	if err != nil {
		return Answer{}, err
	}
	defer release()
	var b [timeSize]byte
	switch n, err := io.ReadFull(conn, b[:]); {
	case err == io.EOF:
		return Answer{}, errClosed
	case err == io.ErrUnexpectedEOF:
		return Answer{}, fmt.Errorf("an answer of %d bytes; RFC 868 wants %d", n, timeSize)
	case err != nil:
		return Answer{}, err
	}
	received := time.Now()
	return newAnswer("", parseTime(b, received), sent, received), nil
}

// parseTime parses the seconds since 1900 of RFC 868. They wrap every 136 years: parseTime
// returns the time nearest to now.
func parseTime(b [timeSize]byte, now time.Time) Reading {
	seconds := ntp.Seconds(binary.BigEndian.Uint32(b[:]))
	return Reading{Time: seconds.Near(now).UTC(), Precision: time.Second}
}
