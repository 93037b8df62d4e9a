//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The chart's measures, in pixels.
const (
	svgWidth   = 820
	svgLeft    = 256 // of the bars: names are to the left
	svgRight   = 80  // beside them: ratios may be
	svgTop     = 92
	svgBottom  = 34
	svgBar     = 12 // the height of a bar
	svgBetween = 12 // two scenarios

	svgPanel    = 250 // the height of the panels below the bars
	svgPanelTop = 64  // in a panel, above its axes
)

const svgStyle = `
svg { font: 12px system-ui, sans-serif; }
.back { fill: #ffffff; } .text { fill: #1f2328; } .faint { fill: #59636e; }
.grid { stroke: #d1d9e0; } .one { stroke: #1f2328; } .quartiles { stroke: #1f2328; stroke-width: 1.5; }
.net { fill: #3b82c4; } .min { fill: #d9822b; } .loop { fill: #4f9d5d; } .c { fill: #8a63c9; } .nowd { fill: #1f2328; }
@media (prefers-color-scheme: dark) {
  .back { fill: #0d1117; } .text { fill: #f0f6fc; } .faint { fill: #9198a1; }
  .grid { stroke: #30363d; } .one { stroke: #f0f6fc; } .quartiles { stroke: #f0f6fc; }
  .net { fill: #58a6e8; } .min { fill: #e8a050; } .loop { fill: #6cc07c; } .c { fill: #b294e6; } .nowd { fill: #f0f6fc; }
}
`

// svgRivals has the legend, and by a rival's name the class of its bars.
var svgRivals = []struct{ name, class, legend string }{
	{"net", "net", "nowd to Go’s net package"},
	{"min", "min", "nowd to the minimum"},
	{"one loop", "loop", "two loops to one"},
	{"C", "c", "nowd to the minimum in C"},
}

func svgClass(name string) string {
	switch name {
	case "nowd":
		return "nowd"
	case "C single":
		return "c"
	}
	for _, r := range svgRivals {
		if r.name == name {
			return r.class
		}
	}
	return "faint"
}

// svg draws the ratios of what the scenarios are for: a bar from equal to the
// median, and a line from quartile to quartile. The scale is logarithmic, so
// that half as much is as far from equal as twice as much.
func (r *report) svg() []byte {
	var rows []row
	var bars int
	low, high := math.Log2(0.5), math.Log2(2)
	for _, row := range r.Rows {
		if !row.Main {
			continue
		}
		rows = append(rows, row)
		bars += len(row.Rivals)
		for _, v := range row.Rivals {
			if v.drawn() {
				low, high = min(low, math.Log2(v.Ratio.Q1)), max(high, math.Log2(v.Ratio.Q3))
			}
		}
	}
	low, high = math.Floor(low), math.Ceil(high)
	x := func(ratio float64) float64 {
		return svgLeft + (math.Log2(ratio)-low)/(high-low)*(svgWidth-svgLeft-svgRight)
	}
	bottom := svgTop + bars*svgBar + len(rows)*svgBetween
	height := bottom + svgBottom
	panels := r.costsAndAges()
	if len(panels) > 0 {
		height += svgPanel
	}

	var b bytes.Buffer
	text := func(x, y float64, class, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">`, x, y, class, anchor)
		_ = xml.EscapeText(&b, []byte(s)) // into memory
		b.WriteString("</text>\n")
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`+"\n", svgWidth, height, svgWidth, height)
	fmt.Fprintf(&b, "<title>nowd against its yardsticks</title>\n<style>%s</style>\n", svgStyle)
	fmt.Fprintf(&b, `<rect class="back" width="%d" height="%d"/>`+"\n", svgWidth, height)
	text(16, 26, "text", "start", "What nowd takes, as a ratio to what others take. Left of 1 is less; the line goes from quartile to quartile.")
	text(16, 44, "faint", "start", r.Machine)

	legend := 16
	for _, v := range svgRivals {
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="56" width="10" height="10"/>`+"\n", v.class, legend)
		text(float64(legend)+16, 65, "text", "start", v.legend)
		legend += 200
	}
	step := max(1, math.Ceil((high-low)/8))
	for e := step * math.Ceil(low/step); e <= high; e += step {
		at, class := x(math.Exp2(e)), "grid"
		if e == 0 {
			class = "one"
		}
		fmt.Fprintf(&b, `<line class="%s" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`+"\n", class, at, svgTop-8, at, bottom)
		label := fmt.Sprintf("%.0f", math.Exp2(e))
		if e < 0 {
			label = fmt.Sprintf("1/%.0f", math.Exp2(-e))
		}
		text(at, float64(bottom)+18, "faint", "middle", label)
	}
	y := float64(svgTop)
	for _, row := range rows {
		figure, _, _ := strings.Cut(row.Figure, ", ") // a ratio has no unit
		text(16, y+float64(len(row.Rivals)*svgBar)/2+4, "text", "start", row.Scenario+": "+figure)
		for _, v := range row.Rivals {
			if v.drawn() {
				one, end := x(1), x(v.Ratio.Median)
				fmt.Fprintf(&b, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%d"/>`+"\n", svgClass(v.Name), min(one, end), y+1, math.Abs(end-one), svgBar-2)
				fmt.Fprintf(&b, `<line class="quartiles" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", x(v.Ratio.Q1), y+svgBar/2, x(v.Ratio.Q3), y+svgBar/2)
				text(max(one, x(v.Ratio.Q3))+6, y+svgBar-2, "text", "start", fmt.Sprintf("%.2f", v.Ratio.Median))
			}
			y += svgBar
		}
		y += svgBetween
	}
	drawPanels(text, &b, panels, float64(bottom+svgBottom))
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// drawPanels draws a panel for each load, side by side: a point for each server, the
// cost of its answers to the right and their age upwards, on a logarithmic scale.
func drawPanels(text func(x, y float64, class, anchor, s string), b *bytes.Buffer, servers []costAndAge, top float64) {
	loads := slices.CompactFunc(slices.Clone(servers), func(a, b costAndAge) bool { return a.load == b.load })
	if len(loads) == 0 {
		return
	}
	text(16, top+20, "text", "start", "Cost and age of an answer: CPU time in ns to the right, the age’s 99th percentile in µs upwards. Lower left is better.")
	width := float64(svgWidth-16) / float64(len(loads))
	oldest, youngest := 2.0, 1.0
	for _, s := range servers {
		oldest, youngest = max(oldest, s.ageP99), min(youngest, max(s.ageP99, 1./8))
	}
	low, high := math.Floor(math.Log2(youngest)), math.Ceil(math.Log2(oldest))
	y0, y1 := top+svgPanel-24, top+svgPanelTop
	for i, l := range loads {
		x0, x1 := 48+float64(i)*width, float64(i+1)*width-48
		text(x0, top+44, "text", "start", l.load)
		var most float64
		for _, s := range servers {
			if s.load == l.load {
				most = max(most, s.cost*1.1)
			}
		}
		for e := low; e <= high; e++ {
			y := y0 - (e-low)/(high-low)*(y0-y1)
			fmt.Fprintf(b, `<line class="grid" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", x0, y, x1, y)
			text(x0-6, y+4, "faint", "end", strconv.FormatFloat(math.Exp2(e), 'g', 3, 64))
		}
		text(x0, y0+18, "faint", "start", "0")
		text(x1, y0+18, "faint", "end", number(most)+" ns")
		for _, s := range servers {
			if s.load != l.load || s.cost <= 0 {
				continue
			}
			x := x0 + s.cost/most*(x1-x0)
			y := y0 - (math.Log2(max(s.ageP99, math.Exp2(low)))-low)/(high-low)*(y0-y1)
			fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="5"/>`+"\n", svgClass(s.name), x, y)
			text(x-9, y+4, "text", "end", s.name)
		}
	}
}

// drawn reports whether there is a ratio that has a place on the scale.
func (v rival) drawn() bool { return v.Ratio.Q1 > 0 }
