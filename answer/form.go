package answer

import (
	"fmt"
	"slices"
	"strings"
)

// Form is a form that an answer can take. A text answer's is asked for by its
// word; those behind Help belong to dialects of their own.
type Form uint8

const (
	DateTime    Form = iota // 2026-11-21 01:17:42.813729, in the host's zone
	RFC3339                 // 2026-11-21T01:17:42.813729123Z, with the zone's offset
	Unix                    // seconds since 1970
	UnixMS                  // milliseconds
	UnixUS                  // microseconds
	UnixNS                  // nanoseconds
	Bound                   // earliest and latest true time, and whether the clock is synchronised
	JSON                    // all that is known, on one line
	Help                    // the words
	DaytimeForm             // RFC 867
	TimeForm                // RFC 868
	NTPForm                 // RFC 5905
	KissForm                // an NTP packet that tells no time, but asks for fewer requests
	NumForms

	// Untrusted stands in a form's place for no answer: the clock is not to be
	// trusted, and the dialect has no way to say so.
	Untrusted = NumForms

	numWords = DaytimeForm // the text forms
)

var names = [NumForms]string{"datetime", "rfc3339", "unix", "unixms", "unixus", "unixns", "bound", "json", "help", "daytime", "time", "ntp", "kiss"}

// words are the names that ask for a form.
var words = names[:numWords]

// The lengths of the words.
const shortest, longest = len("unix"), len("datetime")

// String returns the form's name, which of a text form is its word.
func (f Form) String() string { return names[f] }

// TextForms returns the forms of text answers.
func TextForms() []Form {
	forms := make([]Form, numWords)
	for i := range forms {
		forms[i] = Form(i)
	}
	return forms
}

// Words returns the words of all text forms.
func Words() []string { return slices.Clone(words) }

// UnmarshalText accepts a word, in any case, that gives a time as text.
func (f *Form) UnmarshalText(text []byte) error {
	got, ok := ParseForm(text)
	if !ok || got == Help || len(text) != len(words[got]) {
		return fmt.Errorf("want one of %s", strings.Join(words[:Help], ", "))
	}
	*f = got
	return nil
}

// ParseForm returns the text form that a request asks for: the request is its
// word, in any case, between any white space and NULs.
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
