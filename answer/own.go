package answer

import (
	"bytes"
	"strings"
)

var help = strings.Join(words[:], " ")

// Own reports whether a datagram reads as an answer that this program gives, in
// whatever form or zone. It is not to be answered: whoever sent it does not
// ask, and if he answers all that comes, as we do, neither side would ever be
// silent again.
func Own(datagram []byte) bool {
	b := trim(datagram)
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

// isUnix reports whether b is whole seconds or a fraction of them, as
// appendUnix writes them.
func isUnix(b []byte) bool {
	n := digits(cutSign(b))
	return n >= 10 && n == len(cutSign(b))
}

// isDateTime reports whether b is a datetime or RFC 3339 answer. A year may
// have more than four digits.
func isDateTime(b []byte) bool {
	b = cutSign(b)
	year := digits(b)
	const rest = "-11-21 01:17:42."
	if year < 4 || len(b) < year+len(rest)+6 {
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
