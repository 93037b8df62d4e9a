package query

import (
	"context"
	"strings"
	"time"
)

// askDaytimeUDP asks for a daytime (RFC 867) over UDP.
func askDaytimeUDP(ctx context.Context, h *Host) (Answer, error) {
	b, sent, received, err := exchangeDatagram(ctx, h.addr, []byte("\n"))
	if err != nil {
		return Answer{}, err
	}
	// Some servers begin with a newline.
	text := firstLine([]byte(strings.TrimSpace(string(b))))
	if text == "" {
		return Answer{}, errEmpty
	}
	return newAnswer(text, parseDaytime(text), sent, received), nil
}

// askDaytimeTCP asks for a daytime (RFC 867) over TCP. The host may answer as soon as the
// connection is requested, so the round trip begins there.
func askDaytimeTCP(ctx context.Context, h *Host) (Answer, error) {
	conn, sent, release, err := dial(ctx, "tcp", h.addr)
	if err != nil {
		return Answer{}, err
	}
	defer release()
	text, received, err := readLine(conn)
	if err == nil && text == "" { // some servers begin with a newline
		text, received, err = readLine(conn)
	}
	if err != nil {
		return Answer{}, err
	}
	return newAnswer(text, parseDaytime(text), sent, received), nil
}

// daytimeLayouts are the layouts of common servers; RFC 867 prescribes none. Layouts without
// a zone are missing: such a time cannot be compared.
var daytimeLayouts = []string{
	"Monday, January 2, 2006 15:04:05-MST", // the RFC's first example
	"Monday, January 2, 2006 15:04:05-07:00",
	"Mon, 2 Jan 2006 15:04:05 MST",
	"Mon, 2 Jan 2006 15:04:05 -0700",
	"2006-01-02 15:04:05 -07:00", // nowd's
	"2006-01-02 15:04:05 MST",
	"2006-01-02 15:04:05 -0700",
	"Mon Jan _2 15:04:05 MST 2006", // date(1)
}

// parseDaytime parses a daytime whose zone is UTC, GMT or an offset. Other abbreviations are
// ambiguous.
func parseDaytime(text string) Reading {
	if t, precision, ok := parseRFC3339(text); ok {
		return Reading{Time: t, Precision: precision}
	}
	for _, layout := range daytimeLayouts {
		t, err := time.ParseInLocation(layout, text, time.UTC)
		if err != nil {
			continue
		}
		// time.Parse gives an unknown abbreviation the offset 0.
		if name, offset := t.Zone(); offset == 0 && name != "UTC" && name != "GMT" {
			continue
		}
		return Reading{Time: t.UTC(), Precision: time.Second}
	}
	// NIST's: JJJJJ YY-MM-DD HH:MM:SS TT L H msADV UTC(NIST) OTM
	if f := strings.Fields(text); len(f) >= 9 && strings.HasPrefix(f[7], "UTC(") {
		if t, err := time.Parse("06-01-02 15:04:05", f[1]+" "+f[2]); err == nil {
			return Reading{Time: t, Precision: time.Second}
		}
	}
	return Reading{}
}
