package query

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// Line shows an answer on one line: what was answered, as it was sent if that is
// wanted and otherwise the time that it tells, the round trip, and, as far as
// they are known, the offset, the bound and the rest. Two blanks stand between
// them.
func (a *Answer) Line(verbatim bool) string {
	parts := []string{a.shown(verbatim), "round trip " + trip(a.RoundTrip)}
	if !a.Time.IsZero() {
		parts = append(parts, "offset "+a.offset())
	}
	if a.Sync != SyncUnknown {
		parts = append(parts, "bound "+a.bound()+" "+a.Sync.String())
	}
	if a.Stratum != 0 {
		parts = append(parts, "stratum "+strconv.Itoa(a.Stratum))
	}
	if a.Leap != "" && a.Leap != "none" {
		parts = append(parts, "leap "+a.Leap)
	}
	return strings.Join(parts, "  ")
}

// shown returns the answer, or the time that it tells.
func (a *Answer) shown(verbatim bool) string {
	if a.Time.IsZero() || verbatim && a.Text != "" {
		return Printable(a.Text)
	}
	return a.clock()
}

// clock returns the time with as many digits as were told.
func (a *Answer) clock() string {
	layout := "2006-01-02T15:04:05"
	if a.Precision < time.Second {
		layout += "."
	}
	for p := a.Precision; p < time.Second; p *= 10 {
		layout += "0"
	}
	return a.Time.Format(layout + "Z07:00")
}

func (a *Answer) offset() string {
	return seconds("%+.6f", a.Offset) + " ±" + seconds("%.6f", a.Error)
}

func (a *Answer) bound() string {
	if !a.HasBound {
		return "-"
	}
	return "±" + seconds("%.6f", a.Bound)
}

func seconds(format string, d time.Duration) string { return fmt.Sprintf(format, d.Seconds()) + "s" }

func trip(d time.Duration) string { return d.Round(time.Microsecond).String() }

// Table shows what came of asking several hosts: a row for each, how far each is
// ahead of each other, and the verdict. Two blanks or more stand between the
// columns.
func Table(w io.Writer, results []Result, v Verdict) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "#\thost\ttime\tround trip\toffset\tbound\tstatus")
	for i, r := range results {
		fmt.Fprintf(t, "%d\t%s\t", i+1, Printable(r.Host.Name))
		a := r.Answer
		switch {
		case r.Err != nil:
			fmt.Fprintln(t, "-\t-\t-\t-\tno answer")
		case a.Time.IsZero():
			fmt.Fprintf(t, "%s\t%s\t-\t%s\t%s\n", brief(a.Text), trip(a.RoundTrip), a.bound(), a.Sync)
		default:
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", a.clock(), trip(a.RoundTrip), a.offset(), a.bound(), a.Sync)
		}
	}
	t.Flush()
	fmt.Fprintln(w)
	if compared(results, v) > 1 {
		matrix(t, results)
		t.Flush()
		fmt.Fprintln(w)
	}
	showVerdict(w, results, v)
}

// matrix shows how far the host of a row is ahead of that of a column.
func matrix(w io.Writer, results []Result) {
	fmt.Fprint(w, "# ahead of")
	for i := range results {
		fmt.Fprintf(w, "\t%d", i+1)
	}
	fmt.Fprintln(w)
	for i, a := range results {
		fmt.Fprint(w, i+1)
		for j, b := range results {
			if d, ok := Mutual(a, b); ok && i != j {
				fmt.Fprint(w, "\t", seconds("%+.6f", d))
			} else {
				fmt.Fprint(w, "\t-")
			}
		}
		fmt.Fprintln(w)
	}
}

// compared returns how many of the results could be compared.
func compared(results []Result, v Verdict) int { return len(results) - len(v.NoAnswer) - len(v.NoTime) }

func showVerdict(w io.Writer, results []Result, v Verdict) {
	for _, i := range v.NoAnswer {
		fmt.Fprintln(w, "no answer:", Printable(results[i].Err.Error()))
	}
	for _, i := range v.NoTime {
		fmt.Fprintf(w, "cannot be compared: %s\n", Printable(results[i].Host.Name))
	}
	n := compared(results, v)
	switch {
	case n < 2:
	case v.Agree():
		fmt.Fprintf(w, "agree: %d of %d\n", n, len(results))
	default:
		for _, i := range v.Disagree {
			fmt.Fprintf(w, "disagrees: %s", Printable(results[i].Host.Name))
			if v.HasMajority {
				middle := v.Majority.Low + add(v.Majority.High, -v.Majority.Low)/2
				fmt.Fprintf(w, ", %s from the majority", seconds("%+.6f", add(results[i].Answer.Offset, -middle)))
			} else {
				fmt.Fprint(w, ", and there is no majority")
			}
			fmt.Fprintln(w)
		}
	}
}

// String sums up on one line.
func (t *Tally) String() string {
	s := fmt.Sprintf("%s: answered %d of %d", Printable(t.Host.Name), t.Answered, t.Asked)
	if t.Answered > 0 {
		s += fmt.Sprintf("; round trip %s to %s", trip(t.Shortest), trip(t.Longest))
	}
	if t.Compared > 0 {
		s += fmt.Sprintf("; offset %s to %s, %s at the shortest", seconds("%+.6f", t.Least), seconds("%+.6f", t.Most), t.Best.offset())
	}
	if t.Sync != SyncUnknown {
		s += "; " + t.Sync.String()
	}
	switch t.Disagreed {
	case 0:
	case 1:
		s += "; disagreed once"
	default:
		s += fmt.Sprintf("; disagreed %d times", t.Disagreed)
	}
	return s
}

// brief returns what fits into a table.
func brief(s string) string {
	const width = 35 // of a time with nine digits and an offset
	r := []rune(Printable(s))
	if len(r) > width {
		r = append(r[:width-1], '…')
	}
	return string(r)
}

// Printable quotes what could do things to a terminal.
func Printable(s string) string {
	if strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) || c == unicode.ReplacementChar }) {
		return strconv.Quote(s)
	}
	return s
}
