//go:build linux

package main

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Sizes in the chart, in pixels.
const (
	svgWidth   = 820
	svgLeft    = 256 // left of the bars, for the names
	svgRight   = 80  // right of the bars, for the ratios
	svgTop     = 92
	svgBottom  = 34
	svgBar     = 13 // height of a bar
	svgBetween = 12 // between two scenarios

	svgPanel      = 260 // height of the panels below the bars
	svgPanelTop   = 64  // in a panel, above the plot
	svgPanelLeft  = 48  // in a panel, left of the plot
	svgPanelRight = 64  // in a panel, right of the plot, for the names
	svgLine       = 14  // height of a name
)

const svgStyle = `
svg { font: 12px system-ui, sans-serif; }
.back { fill: #ffffff; } .text { fill: #1f2328; } .faint { fill: #59636e; } .head { font-weight: 600; }
.grid { stroke: #d1d9e0; } .one { stroke: #1f2328; } .quartiles { stroke: #1f2328; stroke-width: 1.5; }
.net { fill: #3b82c4; } .min { fill: #d9822b; } .loop { fill: #4f9d5d; } .sockets { fill: #8c959f; }
.c { fill: #8a63c9; } .single { fill: #c55a8f; } .lead { stroke: #8c959f; }
@media (prefers-color-scheme: dark) {
  .back { fill: #0d1117; } .text { fill: #f0f6fc; } .faint { fill: #9198a1; }
  .grid { stroke: #30363d; } .one { stroke: #f0f6fc; } .quartiles { stroke: #f0f6fc; }
  .net { fill: #58a6e8; } .min { fill: #e8a050; } .loop { fill: #6cc07c; } .sockets { fill: #7d8590; }
  .c { fill: #b294e6; } .single { fill: #e58ab5; }
}
`

// svgServers are the servers that have a colour, in the order of the legend.
var svgServers = []struct{ name, class, legend string }{
	{"net", "net", "net: Go’s net package"},
	{"min", "min", "min: bare loop in Go"},
	{"C", "c", "C: bare loop in C"},
	{"C single", "single", "C single"},
	{"one loop", "loop", "one loop"},
	{"sockets", "sockets", "sockets"},
}

// svgClass returns the class of a server's bars and points.
func svgClass(name string) string {
	for _, s := range svgServers {
		if s.name == name {
			return s.class
		}
	}
	return "text"
}

// drawing is an SVG picture.
type drawing struct{ bytes.Buffer }

func (d *drawing) text(x, y float64, class, anchor, s string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">`, x, y, class, anchor)
	_ = xml.EscapeText(d, []byte(s)) // a Buffer returns no error
	d.WriteString("</text>\n")
}

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(d, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", class, x1, y1, x2, y2)
}

func (d *drawing) rect(class string, x, y, width, height float64) {
	fmt.Fprintf(d, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`+"\n", class, x, y, width, height)
}

// svg draws the main figures of all scenarios as ratios, and below them the panels of cost and
// age.
func (r *report) svg() []byte {
	var rows []row
	names := make(map[string]bool)
	bars := 0
	for _, row := range r.Rows {
		if !row.Main || len(row.Rivals) == 0 {
			continue
		}
		rows = append(rows, row)
		bars += len(row.Rivals)
		for _, v := range row.Rivals {
			names[v.Name] = true
		}
	}
	bottom := float64(svgTop + bars*svgBar + len(rows)*svgBetween)
	height := bottom + svgBottom
	panels := r.costsAndAges()
	if len(panels) > 0 {
		height += svgPanel
	}

	d := new(drawing)
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %.0f" width="%d" height="%.0f" role="img">`+"\n", svgWidth, height, svgWidth, height)
	fmt.Fprintf(d, "<title>nowd against other servers</title>\n<style>%s</style>\n", svgStyle)
	d.rect("back", 0, 0, svgWidth, height)
	d.text(16, 26, "text head", "start", "Figures of nowd, divided by those of another server. Left of 1 is better.")
	d.text(16, 44, "faint", "start", "Bar: median of the ratios. Line: quartiles. "+r.Machine)
	x := 16.
	for _, s := range svgServers {
		if names[s.name] {
			d.rect(s.class, x, 56, 10, 10)
			d.text(x+16, 65, "text", "start", s.legend)
			x += 48 + 6.2*float64(len(s.legend)) // about the width of the text
		}
	}
	d.bars(rows, bottom)
	d.panels(panels, bottom+svgBottom)
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// bars draws for each rival of each row a bar from 1 to the ratio. The scale is logarithmic: half
// as much is as far from 1 as twice as much.
func (d *drawing) bars(rows []row, bottom float64) {
	low, high := -1., 1. // powers of 2
	for _, row := range rows {
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
	step := svgStep(high - low)
	for e := step * math.Ceil(low/step); e <= high; e += step {
		at, class := x(math.Exp2(e)), "grid"
		if e == 0 {
			class = "one"
		}
		d.line(class, at, svgTop-8, at, bottom)
		label := fmt.Sprintf("%.0f", math.Exp2(e))
		if e < 0 {
			label = fmt.Sprintf("1/%.0f", math.Exp2(-e))
		}
		d.text(at, bottom+18, "faint", "middle", label)
	}
	y := float64(svgTop)
	for _, row := range rows {
		figure, _, _ := strings.Cut(row.Figure, ", ") // a ratio has no unit
		d.text(16, y+float64(len(row.Rivals)*svgBar)/2+4, "text", "start", row.Scenario+": "+figure)
		for _, v := range row.Rivals {
			if v.drawn() {
				one, end := x(1), x(v.Ratio.Median)
				d.rect(svgClass(v.Name), min(one, end), y+1, math.Abs(end-one), svgBar-2)
				d.line("quartiles", x(v.Ratio.Q1), y+svgBar/2, x(v.Ratio.Q3), y+svgBar/2)
				d.text(max(one, x(v.Ratio.Q3))+6, y+svgBar-2, "text", "start", fmt.Sprintf("%.2f", v.Ratio.Median))
			}
			y += svgBar
		}
		y += svgBetween
	}
}

// svgStep returns the distance of grid lines on a logarithmic scale of so many powers of 2: at
// most nine lines.
func svgStep(powers float64) float64 { return max(1, math.Ceil(powers/8)) }

// panels draws a panel for each load, side by side, with a point for each server: the cost of its
// answers to the right, and their age upwards, on a logarithmic scale.
func (d *drawing) panels(servers []costAndAge, top float64) {
	if len(servers) == 0 {
		return
	}
	d.text(16, top+20, "text head", "start", "Cost and age of an answer. Lower left is better.")
	power := func(s costAndAge) float64 { return math.Log2(max(s.ageP99, 1./8)) } // of 2
	var loads [][]costAndAge
	low, high := 0., 1. // powers of 2
	for i, s := range servers {
		if i == 0 || s.load != servers[i-1].load {
			loads = append(loads, nil)
		}
		loads[len(loads)-1] = append(loads[len(loads)-1], s)
		e := power(s)
		low, high = min(low, math.Floor(e)), max(high, math.Ceil(e))
	}
	width := float64(svgWidth-16) / float64(len(loads))
	y0, y1 := top+svgPanel-44, top+svgPanelTop
	y := func(e float64) float64 { return y0 - (e-low)/(high-low)*(y0-y1) }
	step := svgStep(high - low)
	for i, load := range loads {
		x0, x1 := svgPanelLeft+float64(i)*width, float64(i+1)*width-svgPanelRight
		d.text(16+float64(i)*width, top+44, "text", "start", load[0].load+": age p99, µs")
		for e := step * math.Ceil(low/step); e <= high; e += step {
			d.line("grid", x0, y(e), x1, y(e))
			d.text(x0-6, y(e)+4, "faint", "end", strconv.FormatFloat(math.Exp2(e), 'f', -1, 64))
		}
		d.panel(load, x0, x1, y0, func(s costAndAge) float64 { return y(power(s)) })
	}
}

// panel draws the points of one load between x0 and x1, and the scale of the costs at y0. The
// names are to the right, in the order of the points from top to bottom.
func (d *drawing) panel(servers []costAndAge, x0, x1, y0 float64, y func(costAndAge) float64) {
	most := 1.
	for _, s := range servers {
		most = max(most, s.cost*1.1)
	}
	x := func(cost float64) float64 { return x0 + cost/most*(x1-x0) }
	step := math.Pow(10, math.Floor(math.Log10(most))) / 2
	for _, f := range [...]float64{2, 2, 2.5} { // 0.5, 1, 2 or 5: four ticks at most
		if most/step >= 4 {
			step *= f
		}
	}
	for cost := 0.; cost <= most; cost += step {
		d.line("grid", x(cost), y0, x(cost), y0+4)
		d.text(x(cost), y0+18, "faint", "middle", strconv.FormatFloat(cost, 'f', -1, 64))
	}
	d.text((x0+x1)/2, y0+36, "faint", "middle", "CPU, ns/answer")
	byAge := slices.SortedStableFunc(slices.Values(servers), func(a, b costAndAge) int { return cmp.Compare(y(a), y(b)) })
	last := math.Inf(-1)
	for i, s := range byAge {
		below := float64(len(byAge)-1-i) * svgLine // for the other names
		last = min(max(y(s), last+svgLine), y0-below)
		d.line("lead", x(s.cost), y(s), x1+4, last)
		d.text(x1+8, last+4, "text", "start", s.name)
	}
	for _, s := range slices.Backward(servers) { // nowd is the first: its point covers others
		fmt.Fprintf(d, `<circle class="%s" cx="%.1f" cy="%.1f" r="5"/>`+"\n", svgClass(s.name), x(s.cost), y(s))
	}
}

// drawn reports whether a bar can show the ratio: the scale has no 0.
func (v rival) drawn() bool { return v.Ratio.Q1 > 0 }
