package query

import (
	"context"
	"strings"
	"time"
)

// askDaytimeUDP asks by RFC 867 with a datagram.
func askDaytimeUDP(ctx context.Context, h *Host) (Answer, error) {
	b, sent, received, err := datagram(ctx, h.addr, []byte("\n"))
	if err != nil {
		return Answer{}, err
	}
	// Some begin with the end of a line.
	text := firstLine([]byte(strings.TrimSpace(string(b))))
	return newAnswer(text, parseDaytime(text), sent, received), nil
}

// askDaytimeTCP asks by RFC 867 with a connection. The host may answer as soon
// as it is asked for one, so the round trip begins there.
func askDaytimeTCP(ctx context.Context, h *Host) (Answer, error) {
	conn, sent, release, err := dial(ctx, "tcp", h.addr)
	if err != nil {
		return Answer{}, err
	}
	defer release()
	text, received, err := readLine(conn)
	if err == nil && text == "" { // some begin with the end of a line
		text, received, err = readLine(conn)
	}
	if err != nil {
		return Answer{}, err
	}
	return newAnswer(text, parseDaytime(text), sent, received), nil
}

// daytimes are what servers make of RFC 867, which leaves it to them. Those
// without a zone cannot be compared.
var daytimes = []string{
	"Monday, January 2, 2006 15:04:05-MST", // the RFC's first example
	"Monday, January 2, 2006 15:04:05-07:00",
	"Mon, 2 Jan 2006 15:04:05 MST",
	"Mon, 2 Jan 2006 15:04:05 -0700",
	"2006-01-02 15:04:05 -07:00", // ours
	"2006-01-02 15:04:05 MST",
	"2006-01-02 15:04:05 -0700",
	"Mon Jan _2 15:04:05 MST 2006", // date(1)
}

// parseDaytime returns what a daytime tells, if its zone is one that can be
// known: UTC or an offset. Other abbreviations mean several.
func parseDaytime(text string) Told {
	if t, precision, ok := parseRFC3339(text); ok {
		return Told{Time: t, Precision: precision}
	}
	for _, layout := range daytimes {
		t, err := time.ParseInLocation(layout, text, time.UTC)
		if err != nil {
			continue
		}
		// For want of an offset a name that is not known gets none.
		if name, offset := t.Zone(); offset == 0 && name != "UTC" && name != "GMT" {
			continue
		}
		return Told{Time: t.UTC(), Precision: time.Second}
	}
	// NIST's: JJJJJ YY-MM-DD HH:MM:SS TT L H msADV UTC(NIST) OTM
	if f := strings.Fields(text); len(f) >= 9 && strings.HasPrefix(f[7], "UTC(") {
		if t, err := time.Parse("06-01-02 15:04:05", f[1]+" "+f[2]); err == nil {
			return Told{Time: t, Precision: time.Second}
		}
	}
	return Told{}
}
