package command

import (
	"strconv"
	"strings"
	"unicode"
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

// Printable quotes a text that has unprintable characters, which a terminal might
// interpret. It returns other texts unchanged.
func Printable(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }) {
		return strconv.Quote(text)
	}
	return text
}
