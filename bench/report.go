//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"golang.org/x/sys/unix"
)

// report is the outcome of a run of bench.
type report struct {
	Machine string   `json:"machine"`
	Notes   []string `json:"notes"`
	Rows    []row    `json:"rows"`
}

// row compares one figure of the first server, the subject, with that of the others, the
// rivals.
type row struct {
	Scenario string  `json:"scenario"`
	Figure   string  `json:"figure"`
	More     bool    `json:"more_is_better"`
	Main     bool    `json:"main"` // the main figure of the scenario
	Name     string  `json:"name"` // of the subject
	Median   float64 `json:"median"`
	Rivals   []rival `json:"rivals"`

	Values []float64 `json:"values"` // by round
}

// rival is a server that a row's subject is compared with.
type rival struct {
	Name   string    `json:"name"`
	Median float64   `json:"median"`
	Ratio  spread    `json:"ratio"`  // of the subject's figure to the rival's
	Ratios []float64 `json:"ratios"` // by round
	Values []float64 `json:"values"`
}

func newReport(placement string) *report {
	r := &report{Machine: machine()}
	r.note(placement)
	return r
}

func (r *report) note(s string) { r.Notes = append(r.Notes, s) }

// machine describes this machine in one line.
func machine() string {
	kernel := "Linux"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		kernel += " " + unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%s, %d processors, %s, %s/%s, %s", cpuModel(), runtime.NumCPU(), kernel, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func cpuModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range bytes.Lines(b) {
			if name, value, _ := strings.Cut(string(line), ":"); strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return "unknown processor"
}

// add adds the figures of a scenario. results[i][j] is server i's result in round j.
func (r *report) add(s scenario, servers []server, results [][]result) {
	for i, f := range s.figures {
		values := make([][]float64, len(servers))
		for c := range servers {
			for _, res := range results[c] {
				values[c] = append(values[c], f.of(res))
			}
		}
		row := row{Scenario: s.name, Figure: f.name, More: f.more, Main: i == 0,
			Name: servers[0].name, Values: values[0], Median: spreadOf(values[0]).Median}
		for c := 1; c < len(servers); c++ {
			ratios := ratiosOf(values[0], values[c])
			row.Rivals = append(row.Rivals, rival{
				Name: servers[c].name, Values: values[c], Median: spreadOf(values[c]).Median,
				Ratios: ratios, Ratio: spreadOf(ratios),
			})
		}
		r.Rows = append(r.Rows, row)
	}
}

// noteIdle adds a note with the scenarios in which a server was idle part of the time. If
// each has a processor to itself, the load generator is faster than the server.
func (r *report) noteIdle() {
	var names []string
	for _, row := range r.Rows {
		least := row.Median
		for _, v := range row.Rivals {
			least = min(least, v.Median)
		}
		if row.Figure == busy.name && least < saturated {
			names = append(names, row.Scenario)
		}
	}
	if len(names) > 0 {
		r.note(fmt.Sprintf("A server was idle part of the time, or shared its processor: %s. Ignore answers/s and round trips there.", strings.Join(names, ", ")))
	}
}

// saturated is the run time of a server under full load, in percent of the elapsed time.
const saturated = 90

// ratiosOf returns the ratio of a to b in each round, without the rounds in which b is 0.
func ratiosOf(a, b []float64) []float64 {
	ratios := []float64{}
	for i := range a {
		if b[i] > 0 {
			ratios = append(ratios, a[i]/b[i])
		}
	}
	return ratios
}

// print writes the report as text: first the main figures, then the others, then cost and
// age.
func (r *report) print(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintln(&b, r.Machine)
	for _, n := range r.Notes {
		fmt.Fprintln(&b, n)
	}
	fmt.Fprint(&b, "Figures are medians of the rounds. Ratios are medians of the ratios within each round, with quartiles in brackets.\n")
	for _, main := range []bool{true, false} {
		var header []string
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		for _, row := range r.Rows {
			if row.Main != main {
				continue
			}
			if h := row.header(); !slices.Equal(h, header) {
				_ = t.Flush() // into memory
				fmt.Fprintln(&b)
				fmt.Fprintln(t, strings.Join(h, "\t"))
				header = h
			}
			fmt.Fprintln(t, strings.Join(row.cells(), "\t"))
		}
		_ = t.Flush()
	}
	if servers := r.costsAndAges(); len(servers) > 0 {
		fmt.Fprintln(&b, "\nCost and age of an answer: CPU is the run time of the server; age is the time from the reading of the clock until the answer is sent.")
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "load\tserver\tCPU, ns/answer\tage p50, µs\tage p99, µs")
		for _, s := range servers {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", s.load, s.name, number(s.cost), number(s.ageP50), number(s.ageP99))
		}
		_ = t.Flush() // into memory
	}
	_, err := w.Write(b.Bytes())
	return err
}

// costAndAge is the cost and the age of a server's answers under a load: medians of the
// rounds.
type costAndAge struct {
	load, name     string
	cost           float64 // run time per answer, in nanoseconds
	ageP50, ageP99 float64 // in microseconds
}

// costsAndAges returns cost and age of each server under each load for which both were
// measured, in the order of the loads.
func (r *report) costsAndAges() (all []costAndAge) {
	for _, costs := range r.Rows {
		p50, p99 := r.row(agePrefix+costs.Scenario, ageP50), r.row(agePrefix+costs.Scenario, ageP99)
		if costs.Figure != runTimePerAnswer.name || p50 == nil || p99 == nil {
			continue
		}
		for i, v := range costs.medians() {
			all = append(all, costAndAge{costs.Scenario, v.name, v.median, p50.medians()[i].median, p99.medians()[i].median})
		}
	}
	return all
}

// row returns the row with a figure of a scenario, or nil.
func (r *report) row(scenario string, f figure) *row {
	for i := range r.Rows {
		if r.Rows[i].Scenario == scenario && r.Rows[i].Figure == f.name {
			return &r.Rows[i]
		}
	}
	return nil
}

type namedMedian struct {
	name   string
	median float64
}

// medians returns the median of each server, the subject first.
func (r row) medians() []namedMedian {
	all := []namedMedian{{r.Name, r.Median}}
	for _, v := range r.Rivals {
		all = append(all, namedMedian{v.Name, v.Median})
	}
	return all
}

func (r row) header() []string {
	h := []string{"scenario", "figure", r.Name}
	for _, v := range r.Rivals {
		h = append(h, v.Name, "against "+v.Name)
	}
	return h
}

func (r row) cells() []string {
	f := r.Figure
	if r.More {
		f += " (more is better)"
	}
	c := []string{r.Scenario, f, number(r.Median)}
	for _, v := range r.Rivals {
		c = append(c, number(v.Median), v.ratio())
	}
	return c
}

func (v rival) ratio() string {
	if len(v.Ratios) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f [%.2f–%.2f]", v.Ratio.Median, v.Ratio.Q1, v.Ratio.Q3)
}

// number formats a number with at least three digits.
func number(v float64) string {
	decimals := 0
	if a := math.Abs(v); a < 10 {
		decimals = 2
	} else if a < 100 {
		decimals = 1
	}
	return strconv.FormatFloat(v, 'f', decimals, 64)
}
