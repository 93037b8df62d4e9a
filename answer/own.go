package answer

import (
	"bytes"
	"strings"
)

var help = strings.Join(words, " ")

// Own reports whether a datagram reads as an answer that this program gives, in
// whatever form or zone, at whichever port. It is not to be answered: whoever
// sent it does not ask, and if he answers all that comes, as we do, neither side
// would ever be silent again. Four bytes that are no text pass
// for what a time server says, whatever time that would be: its clock may be far
// from ours, and clients send no such thing.
func Own(datagram []byte) bool {
	if isNTPAnswer(datagram) {
		return true
	}
	b := trim(datagram)
	if len(datagram) == timeSize && !isWritten(datagram) && (len(b) == 0 || !isWritten(b)) {
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

// isWritten reports whether every byte of b is ASCII that can be printed, or
// white space.
func isWritten(b []byte) bool {
	for _, c := range b {
		if c > '~' || c < ' ' && (c < '\t' || c > '\r') {
			return false
		}
	}
	return true
}

// isNTPAnswer reports whether b is an NTP packet of one who does not ask. No
// text is: no ASCII is, for the precision is negative.
func isNTPAnswer(b []byte) bool {
	p, ok := parseNTP(b)
	if !ok || p.version == 0 || p.stratum > maxStratum || p.precision >= 0 || p.precision < -32 {
		return false
	}
	switch p.mode {
	case modeActive, modePassive, modeServer, modeBroadcast:
		return true
	default:
		return false
	}
}

// isUnix reports whether b is whole seconds or a fraction of them, as
// appendUnix writes them.
func isUnix(b []byte) bool {
	n := digits(cutSign(b))
	return n >= 10 && n == len(cutSign(b))
}

// isDateTime reports whether b is a datetime, an RFC 3339 or a daytime answer. A
// year may have more than four digits.
func isDateTime(b []byte) bool {
	b = cutSign(b)
	year := digits(b)
	const rest, zone = "-11-21 01:17:42", "+08:00"
	if year < 4 || len(b) < year+len(rest)+len(".813729") {
		return false
	}
	for i, c := range []byte(rest) {
		switch got := b[year+i]; {
		case c == ' ':
			if got != ' ' && got != 'T' {
				return false
			}
		case isDigit(c) != isDigit(got) || !isDigit(c) && got != c:
			return false
		}
	}
	b = b[year+len(rest):]
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

// isBound reports whether b is two times in seconds, or two dashes, and a
// status.
func isBound(b []byte) bool {
	if !bytes.HasSuffix(b, []byte("synced")) {
		return false
	}
	for range 2 {
		n := len(b) - len(cutSeconds(b))
		if n == 0 || n == len(b) || b[n] != ' ' {
			return false
		}
		b = b[n+1:]
	}
	return string(b) == "synced" || string(b) == "unsynced"
}

// cutSeconds cuts a time in seconds, or the dash in its place, off b.
func cutSeconds(b []byte) []byte {
	b = cutSign(b)
	b = b[digits(b):]
	if len(b) > 0 && b[0] == '.' {
		b = b[1:]
		b = b[digits(b):]
	}
	return b
}

func cutSign(b []byte) []byte {
	if len(b) > 0 && b[0] == '-' {
		return b[1:]
	}
	return b
}

// digits returns how many digits b begins with.
func digits(b []byte) int {
	for i, c := range b {
		if !isDigit(c) {
			return i
		}
	}
	return len(b)
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
