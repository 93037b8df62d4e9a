package answer

import (
	"fmt"
	"slices"
	"strings"
)

// Form is the form of an answer. A client asks for a text form by its word. The forms after
// Help belong to the other dialects.
type Form uint8

const (
	DateTime    Form = iota // 2026-11-21 01:17:42.813729, in the host's zone
	RFC3339                 // 2026-11-21T01:17:42.813729123Z, with the zone's offset
	Unix                    // seconds since 1970
	UnixMS                  // milliseconds since 1970
	UnixUS                  // microseconds since 1970
	UnixNS                  // nanoseconds since 1970
	Bound                   // earliest and latest possible true time, and whether the clock is synced
	JSON                    // the time and the state of the clock, on one line
	Help                    // the list of words
	DaytimeForm             // RFC 867
	TimeForm                // RFC 868
	NTPForm                 // RFC 5905
	KissForm                // RATE kiss of RFC 5905, section 7.4: an NTP packet without a time that asks for fewer requests
	numForms

	numTextForms = DaytimeForm
)

// NumForms is the number of forms.
const NumForms = int(numForms)

var formNames = [NumForms]string{"datetime", "rfc3339", "unix", "unixms", "unixus", "unixns", "bound", "json", "help", "daytime", "time", "ntp", "kiss"}

// words are the names of the text forms. Clients send them to ask for a form.
var words = formNames[:numTextForms]

// minWord and maxWord are the lengths of the shortest and the longest word.
const minWord, maxWord = len("unix"), len("datetime")

// String returns the form's name, which metrics use. A text form's name is its word.
func (f Form) String() string { return formNames[f] }

// TextForms returns the forms of text answers.
func TextForms() []Form {
	forms := make([]Form, numTextForms)
	for i := range forms {
		forms[i] = Form(i)
	}
	return forms
}

// Words returns the words of all text forms.
func Words() []string { return slices.Clone(words) }

// UnmarshalText accepts the word of any text form except Help, in any case, without
// padding.
func (f *Form) UnmarshalText(text []byte) error {
	got, ok := ParseForm(text)
	if !ok || got == Help || len(text) != len(words[got]) {
		return fmt.Errorf("want one of %s", strings.Join(words[:Help], ", "))
	}
	*f = got
	return nil
}

// ParseForm returns the text form that a request asks for: a form's word in any case, with
// white space and NULs as padding on both sides. It returns false for other requests.
func ParseForm(req []byte) (Form, bool) {
	req = trim(req)
	if len(req) < minWord || len(req) > maxWord { // nearly always
		return 0, false
	}
	for f, w := range words {
		if len(w) == len(req) && equalFold(w, req) {
			return Form(f), true
		}
	}
	return 0, false
}

// trim removes white space and NULs from both ends.
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

// equalFold reports whether b is word in any case. word must be lower case, and both must
// have the same length.
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
