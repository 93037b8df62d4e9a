//go:build linux

package faults_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// words are the requests that choose a form. Any other request gets a datetime.
var words = []string{"datetime", "rfc3339", "unix", "unixms", "unixus", "unixns", "bound", "json", "help"}

// formOf returns the form of a request's answer.
func formOf(request string) string {
	word := strings.ToLower(strings.Trim(request, " \t\r\n\x00"))
	if slices.Contains(words, word) {
		return word
	}
	return "datetime"
}

var boundForm = regexp.MustCompile(`^(\d+\.\d{9} \d+\.\d{9} synced|(-|\d+\.\d{9}) (-|\d+\.\d{9}) unsynced)$`)

// slack is the allowed difference between two readings of the host's clock, which the host may slew.
const slack = 5 * time.Millisecond

// verify returns an error unless an answer, without its newline, has a time between two times in UTC.
func verify(form, answer string, before, after time.Time) error {
	at, unit, err := parse(form, answer)
	if err != nil {
		return fmt.Errorf("%q is no %s: %w", answer, form, err)
	}
	if unit == 0 {
		return nil
	}
	if at.Before(before.Add(-slack).Truncate(unit)) || at.After(after.Add(slack)) {
		return fmt.Errorf("%q is %v, which is not between %v and %v", answer, at, before, after)
	}
	return nil
}

// parse returns the time in an answer, and its unit. A form without a time has no unit.
func parse(form, answer string) (at time.Time, unit time.Duration, err error) {
	units := map[string]time.Duration{"unix": time.Second, "unixms": time.Millisecond, "unixus": time.Microsecond, "unixns": 1}
	switch form {
	case "datetime":
		at, err = time.Parse("2006-01-02 15:04:05.000000", answer)
		return at, time.Microsecond, err
	case "rfc3339":
		at, err = time.Parse("2006-01-02T15:04:05.000000000Z07:00", answer)
		return at, 1, err
	case "json":
		var said struct {
			UnixNS int64 `json:"unix_ns"`
		}
		err = json.Unmarshal([]byte(answer), &said)
		return time.Unix(0, said.UnixNS), 1, err
	case "bound":
		if !boundForm.MatchString(answer) {
			err = fmt.Errorf("want EARLIEST LATEST STATUS")
		}
		return at, 0, err
	case "help":
		if !strings.Contains(answer, "unixns") {
			err = fmt.Errorf("want the words")
		}
		return at, 0, err
	}
	unit = units[form]
	n, err := strconv.ParseInt(answer, 10, 64)
	return time.Unix(0, n*int64(unit)), unit, err
}
