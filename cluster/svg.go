package cluster

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"
)

// layout is the layout of a picture, in pixels. The picture is a forest plot: a row for each
// node, with a bar for the offset of its clock from the majority's.
type layout struct {
	width       int
	left, right float64 // ends of the axis
	ticks       float64 // upper bound on the ticks on each side of 0
	row         int     // height of a row
	base        int     // baseline of a row's texts, from the top of the row
	bar         int     // top of the bar, from the top of the row
	value       int     // x of the column of offsets and verdicts
	anchor      string  // whether value is the column's start or end
	names       int     // upper bound on the characters of a name
}

var (
	// wide has three columns: names, bars and values.
	wide = layout{width: 1000, left: 224, right: 648, ticks: 3.5, row: 22, base: 14, bar: 5, value: 672, anchor: "start", names: 26}
	// narrow has the bar below name and value, for phones.
	narrow = layout{width: 380, left: 16, right: 364, ticks: 2.5, row: 44, base: 16, bar: 24, value: 370, anchor: "end", names: 22}
)

const (
	svgMargin  = 24
	svgHead    = 84
	svgBar     = 12 // height of a bar
	svgTick    = 6
	svgMinBar  = 3   // least width of a bar
	svgMaxLine = 130 // characters per line
)

// svgStyle has the colours for light and dark mode.
const svgStyle = `
  svg { --paper: #ffffff; --ink: #1f2328; --faint: #667079; --line: #d5dae0; --ok: #2f6fb5; --wrong: #c4281c; --false: #b06a00; --disputed: #7a5195; }
  @media (prefers-color-scheme: dark) { svg { --paper: #14181d; --ink: #e6eaee; --faint: #9aa4ae; --line: #39424c; --ok: #6aa8ec; --wrong: #ff7b6e; --false: #f0ad4e; --disputed: #c39be0; } }
  .paper { fill: var(--paper); } text { fill: var(--ink); font: 13px system-ui, sans-serif; } .title { font-size: 16px; font-weight: 600; }
  .faint { fill: var(--faint); } .value { font-variant-numeric: tabular-nums; } .line { stroke: var(--line); } .zero { stroke: var(--faint); }
  .ok { fill: var(--ok); } .wrong { fill: var(--wrong); } .bound_false { fill: var(--false); } .disputed { fill: var(--disputed); } .unmeasured, .missing { fill: var(--faint); }
`

// writeSVG draws a report, with its summary and problems as text.
func writeSVG(w io.Writer, r *Report) {
	problems := r.Problems
	if len(problems) > 3*maxListed {
		problems = problems[:3*maxListed]
	}
	lines := append(strings.Split(r.summary(), "\n"), r.Asked.UTC().Format("2006-01-02 15:04:05 UTC"))
	classes := make([]string, len(lines))
	for _, p := range problems {
		for _, l := range wrap(words(p.Kind)+": "+p.Text, svgMaxLine) {
			lines, classes = append(lines, l), append(classes, p.Kind)
		}
	}
	wide.draw(w, r, lines, classes)
}

// draw draws the nodes of a report, those with problems first. Below them it writes lines of
// text, each with its class.
func (at layout) draw(w io.Writer, r *Report, lines, classes []string) {
	bottom := svgHead + at.row*len(r.Nodes)
	height := bottom + svgMargin
	if len(lines) > 0 {
		height += 28 + 18*len(lines)
	}
	x := newAxis(r, at.left, at.right)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="How far each clock is from the majority">`, at.width, height, at.width, height)
	fmt.Fprintf(&b, "\n<style>%s</style>\n<rect class=\"paper\" width=\"100%%\" height=\"100%%\"/>\n", svgStyle)
	fmt.Fprintf(&b, `<text class="title" x="%d" y="32">Clocks against the majority</text>`+"\n", min(svgMargin, int(at.left)))
	for _, tick := range x.ticks(at.ticks) {
		class := "line"
		if tick == 0 {
			class = "zero"
		}
		fmt.Fprintf(&b, `<line class="%s" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text class="faint" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			class, x.place(tick), x.place(tick), svgHead-svgTick, bottom, x.place(tick), svgHead-svgTick-6, formatTick(tick))
	}
	order := make([]*Node, len(r.Nodes))
	for i := range r.Nodes {
		order[i] = &r.Nodes[i]
	}
	slices.SortStableFunc(order, func(m, n *Node) int { return cmp.Compare(m.urgency(), n.urgency()) })
	for i, n := range order {
		n.draw(&b, at, x, svgHead+at.row*i)
	}
	y := bottom + 28
	for k, l := range lines {
		class := classes[k]
		if class == "" {
			class = "faint"
		}
		fmt.Fprintf(&b, `<text class="%s" x="%d" y="%d">%s</text>`+"\n", class, svgMargin, y, escape(l))
		y += 18
	}
	b.WriteString("</svg>\n")
	_, _ = io.WriteString(w, b.String()) // there is nowhere to report an error of standard output
}

// urgency is the sort key of nodes: first those that are proved wrong, last those without a
// problem.
func (n *Node) urgency() int {
	for k, v := range []Verdict{Wrong, BoundFalse, Disputed, Missing, Unmeasured} {
		if n.Has(v) {
			return k
		}
	}
	return len(verdictNames)
}

// draw draws the row of a node. y is the top of the row.
func (n *Node) draw(b *strings.Builder, at layout, x axis, y int) {
	class := n.Verdicts[0].String()
	base := y + at.base
	fmt.Fprintf(b, `<g><title>%s</title><text x="%d" y="%d">%s</text>`, escape(n.Name), min(svgMargin, int(at.left)), base, escape(shorten(n.Name, at.names)))
	value := n.formatVerdicts()
	if n.Measured {
		switch {
		case class == OK.String():
			value = formatOffset(n.Offset)
		case at.anchor == "start": // the wide layout has room for both
			value = formatOffset(n.Offset) + ", " + value
		}
		from, to := x.place(n.Offset.Low), x.place(n.Offset.High)
		if to-from < svgMinBar {
			middle := (from + to) / 2
			from, to = middle-svgMinBar/2.0, middle+svgMinBar/2.0
		}
		top := y + at.bar
		fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="1.5"/>`, class, from, top, to-from, svgBar)
		// An arrow shows that the bar extends beyond the axis.
		const half = svgBar/2 + 2
		if n.Offset.High > x.reach {
			fmt.Fprintf(b, `<path class="%s" d="M%.1f %d l8 %d l-8 %dz"/>`, class, x.right, top-2, half, half)
		}
		if n.Offset.Low < -x.reach {
			fmt.Fprintf(b, `<path class="%s" d="M%.1f %d l-8 %d l8 %dz"/>`, class, x.left, top-2, half, half)
		}
	}
	fmt.Fprintf(b, `<text class="value %s" x="%d" y="%d" text-anchor="%s">%s</text></g>`+"\n", class, at.value, base, at.anchor, escape(value))
}

// axis maps offsets to x. It reaches from -reach to reach.
type axis struct {
	reach       time.Duration
	left, right float64
}

// newAxis returns an axis that fits all clocks that are not wrong. It also fits the wrong
// ones unless that would shrink the others too much.
func newAxis(r *Report, left, right float64) axis {
	var good, all time.Duration
	for i := range r.Nodes {
		n := &r.Nodes[i]
		if !n.Measured {
			continue
		}
		far := max(-n.Offset.Low, n.Offset.High)
		if all = max(all, far); !n.Has(Wrong) {
			good = max(good, far)
		}
	}
	const maxShrink = 20
	reach := max(good, time.Microsecond)
	if all/maxShrink <= reach {
		reach = max(reach, all)
	}
	return axis{reach + reach/20, left, right}
}

func (x axis) place(at time.Duration) float64 {
	middle := (x.left + x.right) / 2
	part := float64(at) / float64(x.reach)
	return middle + min(max(part, -1), 1)*(x.right-middle)
}

// ticks returns round offsets: 0 and, on each side of it, at most most.
func (x axis) ticks(most float64) []time.Duration {
	power := math.Pow(10, math.Floor(math.Log10(float64(x.reach)/most)))
	step := power
	for _, times := range []float64{2, 5, 10} {
		if float64(x.reach)/step > most {
			step = times * power
		}
	}
	ticks := []time.Duration{0}
	for at := step; at <= float64(x.reach); at += step {
		ticks = append(ticks, time.Duration(at), -time.Duration(at))
	}
	return ticks
}

// formatTick formats a round offset.
func formatTick(d time.Duration) string {
	sign := ""
	if d > 0 {
		sign = "+"
	}
	return sign + d.String()
}

// shorten cuts a text to at most most characters.
func shorten(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// wrap cuts a text into lines of at most most characters, between words if possible.
func wrap(s string, most int) (lines []string) {
	rest := []rune(s)
	for len(rest) > most {
		end := most
		for end > most/2 && rest[end] != ' ' {
			end--
		}
		lines = append(lines, string(rest[:end]))
		rest = rest[end:]
	}
	return append(lines, string(rest))
}

// escape escapes a text for XML, and replaces control characters.
func escape(s string) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return unicode.ReplacementChar
		}
		return c
	}, s)
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}
