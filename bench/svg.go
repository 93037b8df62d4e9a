//go:build linux

package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
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
)

const svgStyle = `
svg { font: 12px system-ui, sans-serif; }
.back { fill: #ffffff; } .text { fill: #1f2328; } .faint { fill: #59636e; }
.grid { stroke: #d1d9e0; } .one { stroke: #1f2328; } .quartiles { stroke: #1f2328; stroke-width: 1.5; }
.net { fill: #3b82c4; } .min { fill: #d9822b; } .loop { fill: #4f9d5d; }
@media (prefers-color-scheme: dark) {
  .back { fill: #0d1117; } .text { fill: #f0f6fc; } .faint { fill: #9198a1; }
  .grid { stroke: #30363d; } .one { stroke: #f0f6fc; } .quartiles { stroke: #f0f6fc; }
  .net { fill: #58a6e8; } .min { fill: #e8a050; } .loop { fill: #6cc07c; }
}
`

// svgRivals has the legend, and by a rival's name the class of its bars.
var svgRivals = []struct{ name, class, legend string }{
	{"net", "net", "nowd to Go’s net package"},
	{"min", "min", "nowd to the minimum"},
	{"one loop", "loop", "two loops to one"},
}

func svgClass(name string) string {
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
	height := svgTop + bars*svgBar + len(rows)*svgBetween + svgBottom
	bottom := height - svgBottom

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
		legend += 210
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
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// drawn reports whether there is a ratio that has a place on the scale.
func (v rival) drawn() bool { return v.Ratio.Q1 > 0 }
