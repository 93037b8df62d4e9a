package query

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The types of the JSON output, one line each. Every field is present; unknown values are
// null.

type answerLine struct {
	Type      string         `json:"type"` // answer
	Round     int            `json:"round"`
	Host      string         `json:"host"`
	Proto     string         `json:"proto"`
	Error     *string        `json:"error"`
	Answer    *string        `json:"answer"`
	Time      *string        `json:"time"`
	UnixNS    *int64         `json:"unix_ns"`
	RoundTrip *time.Duration `json:"round_trip_ns"`
	Offset    *time.Duration `json:"offset_ns"`
	OffsetErr *time.Duration `json:"offset_error_ns"`
	Bound     *time.Duration `json:"bound_ns"`
	Status    *string        `json:"status"`
	Leap      *string        `json:"leap"`
	Stratum   *int           `json:"stratum"`
}

type comparisonLine struct {
	Type          string             `json:"type"` // comparison
	Round         int                `json:"round"`
	Hosts         []string           `json:"hosts"`
	Ahead         [][]*time.Duration `json:"ahead_ns"` // offset of the row's host from the column's
	Agree         *bool              `json:"agree"`
	Majority      bool               `json:"majority"`
	Disagree      []string           `json:"disagree"`
	NoAnswer      []string           `json:"no_answer"`
	NotComparable []string           `json:"not_comparable"`
}

type summaryLine struct {
	Type      string         `json:"type"` // summary
	Host      string         `json:"host"`
	Proto     string         `json:"proto"`
	Asked     int            `json:"asked"`
	Answered  int            `json:"answered"`
	Disagreed int            `json:"disagreed"`
	Shortest  *time.Duration `json:"round_trip_min_ns"`
	Longest   *time.Duration `json:"round_trip_max_ns"`
	Least     *time.Duration `json:"offset_min_ns"`
	Most      *time.Duration `json:"offset_max_ns"`
	Offset    *time.Duration `json:"offset_ns"` // at the shortest round trip
	OffsetErr *time.Duration `json:"offset_error_ns"`
	Status    *string        `json:"status"` // of the last answer
}

// known returns a pointer to v if ok, and otherwise nil, which is null in JSON.
func known[T any](v T, ok bool) *T {
	if !ok {
		return nil
	}
	return &v
}

// writeJSON writes a line for each result. For several results it also writes a line that
// compares them.
func writeJSON(w io.Writer, round int, results []Result, v Verdict) {
	for _, r := range results {
		l := answerLine{Type: "answer", Round: round, Host: r.Host.Name, Proto: r.Host.Proto}
		if r.Err != nil {
			l.Error = known(r.Err.Error(), true)
			writeLine(w, l)
			continue
		}
		a := r.Answer
		comparable := !a.Time.IsZero()
		l.Answer = known(a.Text, a.Text != "")
		l.RoundTrip = known(a.RoundTrip, true)
		if comparable {
			l.Time = known(a.formatTime(), true)
			l.UnixNS = known(a.Time.UnixNano(), 1678 <= a.Time.Year() && a.Time.Year() <= 2261) // the range of int64
		}
		l.Offset, l.OffsetErr = known(a.Offset, comparable), known(a.Error, comparable)
		l.Bound = known(a.Bound, a.HasBound)
		l.Status = known(a.Sync.String(), a.Sync != SyncUnknown)
		l.Leap = known(a.Leap, a.Leap != "")
		l.Stratum = known(a.Stratum, a.Stratum != 0)
		writeLine(w, l)
	}
	if len(results) < 2 {
		return
	}
	l := comparisonLine{
		Type: "comparison", Round: round, Majority: v.HasMajority,
		Agree:    known(v.Agree(), compared(results, v) > 1),
		Disagree: names(results, v.Disagree), NoAnswer: names(results, v.NoAnswer), NotComparable: names(results, v.NotComparable),
	}
	for _, a := range results {
		l.Hosts = append(l.Hosts, a.Host.Name)
		var row []*time.Duration
		for _, b := range results {
			row = append(row, known(offsetBetween(a, b)))
		}
		l.Ahead = append(l.Ahead, row)
	}
	writeLine(w, l)
}

func names(results []Result, of []int) []string {
	list := []string{}
	for _, i := range of {
		list = append(list, results[i].Host.Name)
	}
	return list
}

// writeJSON writes the tally as a line.
func (t *tally) writeJSON(w io.Writer) {
	answered, compared := t.Answered > 0, t.Compared > 0
	writeLine(w, summaryLine{
		Type: "summary", Host: t.Host.Name, Proto: t.Host.Proto,
		Asked: t.Asked, Answered: t.Answered, Disagreed: t.Disagreed,
		Shortest: known(t.MinRoundTrip, answered), Longest: known(t.MaxRoundTrip, answered),
		Least: known(t.MinOffset, compared), Most: known(t.MaxOffset, compared),
		Offset: known(t.Best.Offset, compared), OffsetErr: known(t.Best.Error, compared),
		Status: known(t.Sync.String(), t.Sync != SyncUnknown),
	})
}

// writeLine writes a line of JSON. It escapes unprintable characters, which a terminal might
// interpret: encoding/json leaves some of them in strings.
func writeLine(w io.Writer, line any) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil {
		panic(err) // impossible: every line can be encoded
	}
	b := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	safe := make([]byte, 0, len(b)+1)
	for len(b) > 0 {
		c, n := utf8.DecodeRune(b)
		if unicode.IsPrint(c) {
			safe = append(safe, b[:n]...)
		} else {
			for _, unit := range utf16.Encode([]rune{c}) {
				safe = append(safe, `\u`...)
				safe = append(safe, strconv.FormatUint(0x10000|uint64(unit), 16)[1:]...)
			}
		}
		b = b[n:]
	}
	_, _ = w.Write(append(safe, '\n')) // there is nowhere to report an error of standard output
}
