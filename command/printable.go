package command

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxMistake is the maximum length of the text of a mistake, in bytes.
const maxMistake = 1000

// shortened cuts out the middle of a text that is longer than maxMistake. The end of a
// mistake says what is wanted.
func shortened(text string) string {
	if len(text) <= maxMistake {
		return text
	}
	const half = maxMistake / 2
	return text[:half] + "…" + text[len(text)-half:]
}

// printable escapes the characters of a text that a terminal might interpret.
func printable(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		c, size := utf8.DecodeRuneInString(text)
		if unicode.IsPrint(c) && c != utf8.RuneError {
			b.WriteString(text[:size])
		} else {
			quoted := strconv.Quote(text[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[size:]
	}
	return b.String()
}
