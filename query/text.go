package query

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// parseText parses a text answer in any form.
func parseText(text string) Reading {
	if strings.HasPrefix(text, "{") {
		return parseJSON(text)
	}
	if t, precision, ok := parseRFC3339(text); ok {
		return Reading{Time: t, Precision: precision}
	}
	if f := strings.Fields(text); len(f) == 3 {
		return parseBound(f[0], f[1], f[2])
	}
	return parseUnix(text)
}

func parseRFC3339(text string) (t time.Time, precision time.Duration, ok bool) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, 0, false
	}
	precision = time.Second
	if _, fraction, ok := strings.Cut(text, "."); ok {
		for i := 0; i < len(fraction) && '0' <= fraction[i] && fraction[i] <= '9' && precision > 1; i++ {
			precision /= 10
		}
	}
	return t, precision, true
}

// parseUnix parses whole seconds, milli-, micro- or nanoseconds since 1970. It tells them apart
// by the number of digits, which works from 2001 to 2286.
func parseUnix(text string) Reading {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return Reading{}
	}
	switch len(text) {
	case 10:
		return Reading{Time: time.Unix(n, 0).UTC(), Precision: time.Second}
	case 13:
		return Reading{Time: time.UnixMilli(n).UTC(), Precision: time.Millisecond}
	case 16:
		return Reading{Time: time.UnixMicro(n).UTC(), Precision: time.Microsecond}
	case 19:
		return Reading{Time: time.Unix(0, n).UTC(), Precision: time.Nanosecond}
	}
	return Reading{}
}

// parseBound parses the answer to the word bound. It takes the middle of the earliest and the
// latest time as the host's time. The two differ only if an upstream has narrowed one side of
// the bound.
func parseBound(earliest, latest, status string) Reading {
	low, ok1 := parseSeconds(earliest)
	high, ok2 := parseSeconds(latest)
	if unknown := earliest == "-" && latest == "-"; !unknown && !(ok1 && ok2) {
		return Reading{}
	}
	reading := Reading{Sync: parseSync(status)}
	if width := high.Sub(low); ok1 && ok2 && width >= 0 {
		reading.HasBound, reading.Bound = true, width/2+width%2
		reading.Time, reading.Precision = low.Add(width/2), time.Nanosecond
	}
	return reading
}

// parseSeconds parses seconds since 1970 with nine decimals.
func parseSeconds(s string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	if len(fraction) != 9 {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(whole+fraction, 10, 64)
	return time.Unix(0, n).UTC(), err == nil
}

func parseJSON(text string) Reading {
	var j struct {
		Time     string `json:"time"`
		UnixNS   *int64 `json:"unix_ns"`
		Earliest *int64 `json:"earliest_unix_ns"`
		Latest   *int64 `json:"latest_unix_ns"`
		Status   string `json:"status"`
		Leap     string `json:"leap"`
	}
	if json.Unmarshal([]byte(text), &j) != nil || j.UnixNS == nil {
		return Reading{}
	}
	reading := Reading{Time: time.Unix(0, *j.UnixNS).UTC(), Precision: time.Nanosecond, Sync: parseSync(j.Status)}
	if local, _, ok := parseRFC3339(j.Time); ok {
		reading.Time = reading.Time.In(local.Location())
	}
	if j.Earliest != nil && j.Latest != nil {
		early, late := reading.Time.Sub(time.Unix(0, *j.Earliest)), time.Unix(0, *j.Latest).Sub(reading.Time)
		if early >= 0 && late >= 0 {
			reading.HasBound, reading.Bound = true, max(early, late)
		}
	}
	switch j.Leap {
	case "none", "insert", "delete":
		reading.Leap = j.Leap
	}
	return reading
}

func parseSync(status string) Sync {
	switch status {
	case "":
		return SyncUnknown
	case "synced":
		return Synced
	default:
		return Unsynced
	}
}
