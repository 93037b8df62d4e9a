package cluster

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"nowd/clock"
	"nowd/command"
)

// writeText writes a report as text: a table with a row for each node, the summary, and the
// problems. At least two blanks separate the columns.
func writeText(w io.Writer, r *Report) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "node\tfrom the majority\tbound\tverdict")
	for i := range r.Nodes {
		n := &r.Nodes[i]
		offset := "-"
		if n.Measured {
			offset = formatOffset(n.Offset)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", command.Printable(n.Name), offset, n.formatBound(), n.formatVerdicts())
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	for k, group := range r.Partitions {
		if len(r.Partitions) > 1 && k < maxListed {
			var names []string
			for _, i := range group {
				names = append(names, command.Printable(r.Nodes[i].Name))
			}
			fmt.Fprintf(w, "group %d: %s\n", k+1, list(names))
		}
	}
	fmt.Fprintln(w, r.summary())
	for _, p := range r.Problems {
		fmt.Fprintf(w, "%s: %s\n", words(p.Kind), command.Printable(p.Text))
	}
}

// summary returns the bounds on the differences between clocks, in one or two lines.
func (r *Report) summary() string {
	clocks := 0
	for _, group := range r.Partitions {
		clocks += len(group)
	}
	switch {
	case len(r.Nodes) == 1:
		return "1 node; comparing clocks takes two"
	case clocks < 2:
		return fmt.Sprintf("%d nodes; no measurement connects two of them", len(r.Nodes))
	}
	within := ""
	if len(r.Partitions) > 1 {
		within = " within one group"
	}
	s := fmt.Sprintf("any two of %d clocks%s differ by at most %s; two of them differ by at least %s", clocks, within, formatSeconds("%.6f", r.Most), formatSeconds("%.6f", r.Least))
	if r.Detects > 0 {
		s += fmt.Sprintf("\na clock that is off by more than %s is named, while a majority is right", formatSeconds("%.6f", r.Detects))
	}
	return s
}

func (n *Node) formatBound() string {
	switch {
	case n.Error != "":
		return "-"
	case !n.HasBound:
		return "unsynced"
	}
	return "±" + formatSeconds("%.6f", n.Bound)
}

func (n *Node) formatVerdicts() string {
	var verdicts []string
	for _, v := range n.Verdicts {
		verdicts = append(verdicts, words(v.String()))
	}
	return strings.Join(verdicts, ", ")
}

// words returns the name of a verdict or of a kind of problem without underscores.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// formatOffset formats an interval as its middle and half its width.
func formatOffset(i clock.Interval) string {
	middle := i.Middle()
	return formatSeconds("%+.6f", middle) + " ±" + formatSeconds("%.6f", max(clock.AddSaturated(i.High, -middle), clock.AddSaturated(middle, -i.Low)))
}

func formatSeconds(format string, d time.Duration) string {
	return fmt.Sprintf(format, d.Round(time.Microsecond).Seconds()) + "s"
}
