package query

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"nowd/clock"
	"nowd/command"
)

// line formats an answer as one line: its text if verbatim, otherwise its time; the round
// trip; and, if known, the offset, the bound, the stratum and the leap second. Two blanks
// separate the columns.
func (a *Answer) line(verbatim bool) string {
	parts := []string{a.display(verbatim), "round trip " + formatRoundTrip(a.RoundTrip)}
	if !a.Time.IsZero() {
		parts = append(parts, "offset "+a.formatOffset())
	}
	if a.Sync != SyncUnknown {
		parts = append(parts, "bound "+a.formatBound()+" "+a.Sync.String())
	}
	if a.Stratum != 0 {
		parts = append(parts, "stratum "+strconv.Itoa(a.Stratum))
	}
	if a.Leap != "" && a.Leap != "none" {
		parts = append(parts, "leap "+a.Leap)
	}
	return strings.Join(parts, "  ")
}

// display returns the text of the answer if verbatim or if it has no time, otherwise its time.
func (a *Answer) display(verbatim bool) string {
	if a.Time.IsZero() || verbatim && a.Text != "" {
		return command.Printable(a.Text)
	}
	return a.formatTime()
}

// formatTime formats the time with as many digits as its precision has.
func (a *Answer) formatTime() string {
	layout := "2006-01-02T15:04:05"
	if a.Precision < time.Second {
		layout += "."
	}
	for p := a.Precision; p < time.Second; p *= 10 {
		layout += "0"
	}
	return a.Time.Format(layout + "Z07:00")
}

func (a *Answer) formatOffset() string {
	return formatSeconds("%+.6f", a.Offset) + " ±" + formatSeconds("%.6f", a.Error)
}

func (a *Answer) formatBound() string {
	if !a.HasBound {
		return "-"
	}
	return "±" + formatSeconds("%.6f", a.Bound)
}

func formatSeconds(format string, d time.Duration) string {
	return fmt.Sprintf(format, d.Round(time.Microsecond).Seconds()) + "s"
}

func formatRoundTrip(d time.Duration) string { return d.Round(time.Microsecond).String() }

// writeTable writes the results of several hosts: a row for each host, the offsets of their
// clocks from each other, and the verdict. At least two blanks separate the columns.
func writeTable(w io.Writer, results []Result, v Verdict) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "#\thost\ttime\tround trip\toffset\tbound\tstatus")
	for i, r := range results {
		fmt.Fprintf(t, "%d\t%s\t", i+1, command.Printable(r.Host.Name))
		a := r.Answer
		switch {
		case r.Err != nil:
			fmt.Fprintln(t, "-\t-\t-\t-\tno answer")
		case a.Time.IsZero():
			fmt.Fprintf(t, "%s\t%s\t-\t%s\t%s\n", truncate(a.Text), formatRoundTrip(a.RoundTrip), a.formatBound(), a.Sync)
		default:
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", a.formatTime(), formatRoundTrip(a.RoundTrip), a.formatOffset(), a.formatBound(), a.Sync)
		}
	}
	t.Flush()
	fmt.Fprintln(w)
	if compared(results, v) > 1 {
		writeMatrix(t, results)
		t.Flush()
		fmt.Fprintln(w)
	}
	writeVerdict(w, results, v)
}

// writeMatrix writes how far the host of each row is ahead of the host of each column.
func writeMatrix(w io.Writer, results []Result) {
	fmt.Fprint(w, "# ahead of")
	for i := range results {
		fmt.Fprintf(w, "\t%d", i+1)
	}
	fmt.Fprintln(w)
	for i, a := range results {
		fmt.Fprint(w, i+1)
		for j, b := range results {
			if d, ok := offsetBetween(a, b); ok && i != j {
				fmt.Fprint(w, "\t", formatSeconds("%+.6f", d))
			} else {
				fmt.Fprint(w, "\t-")
			}
		}
		fmt.Fprintln(w)
	}
}

// compared returns the number of results that could be compared.
func compared(results []Result, v Verdict) int {
	return len(results) - len(v.NoAnswer) - len(v.NotComparable)
}

func writeVerdict(w io.Writer, results []Result, v Verdict) {
	for _, i := range v.NoAnswer {
		fmt.Fprintln(w, "no answer:", command.Printable(results[i].Err.Error()))
	}
	for _, i := range v.NotComparable {
		fmt.Fprintf(w, "cannot be compared: %s\n", command.Printable(results[i].Host.Name))
	}
	n := compared(results, v)
	switch {
	case n < 2:
	case v.Agree():
		fmt.Fprintf(w, "agree: %d of %d\n", n, len(results))
	default:
		for _, i := range v.Disagree {
			fmt.Fprintf(w, "disagrees: %s", command.Printable(results[i].Host.Name))
			if v.HasMajority {
				away := clock.AddSaturated(results[i].Answer.Offset, -v.Majority.Middle())
				fmt.Fprintf(w, ", %s from the majority", formatSeconds("%+.6f", away))
			} else {
				fmt.Fprint(w, ", and there is no majority")
			}
			fmt.Fprintln(w)
		}
	}
}

// String formats the tally as one line.
func (t *tally) String() string {
	s := fmt.Sprintf("%s: answered %d of %d", command.Printable(t.Host.Name), t.Answered, t.Asked)
	if t.Answered > 0 {
		s += fmt.Sprintf("; round trip %s to %s", formatRoundTrip(t.MinRoundTrip), formatRoundTrip(t.MaxRoundTrip))
	}
	if t.Compared > 0 {
		s += fmt.Sprintf("; offset %s to %s, %s at the shortest", formatSeconds("%+.6f", t.MinOffset), formatSeconds("%+.6f", t.MaxOffset), t.Best.formatOffset())
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

// truncate makes s printable, and cuts it to the width of a column.
func truncate(s string) string {
	const width = 35 // length of a time with nine digits and an offset
	r := []rune(command.Printable(s))
	if len(r) > width {
		r = append(r[:width-1], '…')
	}
	return string(r)
}
