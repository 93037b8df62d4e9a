package answer

import (
	"bytes"
	"strings"

	"nowd/ntp"
)

var help = strings.Join(words, " ")

// IsAnswer reports whether a datagram has the format of an answer of nowd, in any form,
// zone and dialect. Such a datagram must not be answered: its sender is a server, and two
// servers that answer every datagram would form an endless reply loop (CVE-2024-2169).
//
// Four bytes that are not text count as the answer of a time server (RFC 868), whatever
// time they encode: the other server's clock may be far off. Clients do not send them.
func IsAnswer(datagram []byte) bool {
	if isNTPAnswer(datagram) {
		return true
	}
	b := trim(datagram)
	if len(datagram) == timeSize && !isText(datagram) && (len(b) == 0 || !isText(b)) {
		return true
	}
	if len(b) < len("- - unsynced") {
		return len(b) >= 10 && isUnix(b)
	}
	switch b[0] {
	case '{':
		return bytes.HasPrefix(b, []byte(jsonStart))
	case help[0]:
		return string(b) == help
	default:
		return isDateTime(b) || isUnix(b) || isBound(b)
	}
}

// isText reports whether every byte of b is printable ASCII or white space.
func isText(b []byte) bool {
	for _, c := range b {
		if c > '~' || c < ' ' && (c < '\t' || c > '\r') {
			return false
		}
	}
	return true
}

// isNTPAnswer reports whether b is an NTP packet in a symmetric, server or broadcast mode.
// ASCII text never is one, because the precision has to be negative.
func isNTPAnswer(b []byte) bool {
	p, ok := ntp.Parse(b)
	if !ok || p.Version == 0 || p.Stratum > ntp.StratumUnsynchronized || p.Precision >= 0 || p.Precision < -32 {
		return false
	}
	switch p.Mode {
	case ntp.ModeSymmetricActive, ntp.ModeSymmetricPassive, ntp.ModeServer, ntp.ModeBroadcast:
		return true
	default:
		return false
	}
}

// isUnix reports whether b is an integer as appendUnix writes it.
func isUnix(b []byte) bool {
	n := digits(trimSign(b))
	return n >= 10 && n == len(trimSign(b))
}

// isDateTime reports whether b is a datetime, RFC 3339 or daytime answer. The year may have
// more than four digits.
func isDateTime(b []byte) bool {
	b = trimSign(b)
	year := digits(b)
	const noYear, zone = "-11-21 01:17:42", "+08:00"
	if year < 4 || len(b) < year+len(noYear)+len(".813729") {
		return false
	}
	for i, c := range []byte(noYear) {
		switch got := b[year+i]; {
		case c == ' ':
			if got != ' ' && got != 'T' {
				return false
			}
		case isDigit(c) != isDigit(got) || !isDigit(c) && got != c:
			return false
		}
	}
	b = b[year+len(noYear):]
	if b[0] == ' ' {
		return len(b) == len(" ")+len(zone) && (b[1] == '+' || b[1] == '-') && b[len(" +08")] == ':' &&
			digits(b[len(" +"):]) == 2 && digits(b[len(" +08:"):]) == 2
	}
	if b[0] != '.' {
		return false
	}
	b = b[1:]
	n := digits(b)
	return n >= 6 && (n == len(b) || b[n] == 'Z' || b[n] == '+' || b[n] == '-')
}

// isBound reports whether b is two times in seconds, or two dashes, followed by a status.
func isBound(b []byte) bool {
	if !bytes.HasSuffix(b, []byte("synced")) {
		return false
	}
	for range 2 {
		n := len(b) - len(trimSeconds(b))
		if n == 0 || n == len(b) || b[n] != ' ' {
			return false
		}
		b = b[n+1:]
	}
	return string(b) == "synced" || string(b) == "unsynced"
}

// trimSeconds removes a time in seconds, or a dash in its place, from the beginning of b.
func trimSeconds(b []byte) []byte {
	b = trimSign(b)
	b = b[digits(b):]
	if len(b) > 0 && b[0] == '.' {
		b = b[1:]
		b = b[digits(b):]
	}
	return b
}

func trimSign(b []byte) []byte {
	if len(b) > 0 && b[0] == '-' {
		return b[1:]
	}
	return b
}

// digits returns the number of digits at the beginning of b.
func digits(b []byte) int {
	for i, c := range b {
		if !isDigit(c) {
			return i
		}
	}
	return len(b)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
