package answer

import (
	"fmt"
	"slices"
	"strings"
)

// Form is a form that a text answer can take. Its word asks for it.
type Form uint8

const (
	DateTime Form = iota // 2026-11-21 01:17:42.813729, in the host's zone
	RFC3339              // 2026-11-21T01:17:42.813729123Z, with the zone's offset
	Unix                 // seconds since 1970
	UnixMS               // milliseconds
	UnixUS               // microseconds
	UnixNS               // nanoseconds
	Bound                // earliest and latest true time, and whether the clock is synchronised
	JSON                 // all that is known, on one line
	Help                 // the words
	NumForms
)

var words = [NumForms]string{"datetime", "rfc3339", "unix", "unixms", "unixus", "unixns", "bound", "json", "help"}

// The lengths of the words.
const shortest, longest = len("unix"), len("datetime")

// String returns the form's word.
func (f Form) String() string { return words[f] }

// Words returns the words of all forms.
func Words() []string { return slices.Clone(words[:]) }

// UnmarshalText accepts a word, in any case, that gives a time.
func (f *Form) UnmarshalText(text []byte) error {
	got, ok := ParseForm(text)
	if !ok || got == Help || len(text) != len(words[got]) {
		return fmt.Errorf("want one of %s", strings.Join(words[:Help], ", "))
	}
	*f = got
	return nil
}

// ParseForm returns the form that a request asks for: the request is its word,
// in any case, between any white space and NULs.
func ParseForm(req []byte) (Form, bool) {
	req = trim(req)
	if len(req) < shortest || len(req) > longest { // nearly always
		return 0, false
	}
	for f, w := range words {
		if len(w) == len(req) && equalFold(w, req) {
			return Form(f), true
		}
	}
	return 0, false
}

// trim cuts white space and NULs, with which clients pad, from both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && isPadding(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isPadding(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

func isPadding(c byte) bool { return c == 0 || c == ' ' || '\t' <= c && c <= '\r' }

// equalFold compares b with a word, which is of the same length and in lower
// case.
func equalFold(word string, b []byte) bool {
	for i := range len(word) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
