//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary run as a baseline and as the load generator.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "load") {
		main()
	}
	os.Exit(m.Run())
}

// quick runs bench with -quick, and returns its report.
func quick(t *testing.T, args ...string) *report {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(append([]string{"-quick", "-o", "json"}, args...), &stdout, &stderr); status != 0 {
		t.Fatalf("exit status %d: %s", status, &stderr)
	}
	rep := new(report)
	if err := json.Unmarshal(stdout.Bytes(), rep); err != nil {
		t.Fatal(err)
	}
	t.Log(rep.Notes)
	return rep
}

// TestDriverIsMeasuredAgainstSockets: every server of the XDP scenarios answers.
func TestDriverIsMeasuredAgainstSockets(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root, to load programs into the kernel")
	}
	rep := quick(t, "-run", "^xdp/")
	seen := make(map[string]int)
	for _, r := range rep.Rows {
		if r.Figure == answersPerSecond.name && r.Name == "XDP" && r.Values[0] > 0 {
			seen[r.Scenario] = len(r.Rivals)
		}
	}
	if want := map[string]int{"xdp/text": 2, "xdp/ntp": 1, "xdp/full/text": 0, "xdp/full/ntp": 0}; !maps.Equal(seen, want) {
		t.Errorf("%v answered, want %v", seen, want)
	}
}

func TestEachServerAnswersOverUDPAndTCP(t *testing.T) {
	chart := filepath.Join(t.TempDir(), "ratios.svg")
	rep := quick(t, "-run", "^(udp/4x64|tcp/64x16)$", "-svg", chart)
	seen := 0
	for _, r := range rep.Rows {
		if r.Figure != answersPerSecond.name {
			continue
		}
		seen++
		if r.Name != "nowd" || len(r.Values) != 1 || r.Values[0] <= 0 || len(r.Rivals) != 2 {
			t.Errorf("%+v", r)
		}
		for i, name := range []string{"net", "min"} {
			if v := r.Rivals[i]; v.Name != name || len(v.Values) != 1 || v.Values[0] <= 0 || math.Abs(v.Ratio.Median-r.Values[0]/v.Values[0]) > 1e-9 {
				t.Errorf("%s: %+v", r.Scenario, v)
			}
		}
	}
	if seen != 2 {
		t.Errorf("%d scenarios, want 2", seen)
	}
	b, err := os.ReadFile(chart)
	if err != nil {
		t.Fatal(err)
	}
	if err := wellFormed(b); err != nil || !bytes.Contains(b, []byte(">tcp/64x16: CPU<")) {
		t.Errorf("%v in %s", err, b)
	}
}

func TestAgeOfAnswersIsMeasured(t *testing.T) {
	rep := quick(t, "-run", "^age/")
	if len(rep.Rows) != 9 {
		t.Fatalf("%d rows; %q", len(rep.Rows), rep.Notes)
	}
	for _, r := range rep.Rows {
		for i, v := range [][]float64{r.Values, r.Rivals[0].Values, r.Rivals[1].Values} {
			if len(v) != 1 || v[0] <= 0 || v[0] > 10e6 {
				t.Errorf("%s, %s, server %d: %v", r.Scenario, r.Figure, i, v)
			}
		}
	}
}

// TestCostAndAgeOfEachServer: the report has cost and age of each server, including the
// program of -limit.
func TestCostAndAgeOfEachServer(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	limit := filepath.Join(t.TempDir(), "limit")
	script := "#!/bin/sh\ncase $2 in batch|single) n=udp;; tcp) n=tcp;; *) exit 1;; esac\nexec " + self + " serve min $n 127.0.0.1:$1\n"
	if err := os.WriteFile(limit, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	rep := quick(t, "-run", "^(age/)?(udp/4x64|tcp/64x1)$", "-limit", limit)
	var got []string
	for _, s := range rep.costsAndAges() {
		got = append(got, s.load+" "+s.name)
		if s.cost <= 0 || s.ageP50 <= 0 || s.ageP99 < s.ageP50 {
			t.Errorf("%+v", s)
		}
	}
	want := []string{"udp/4x64 nowd", "udp/4x64 net", "udp/4x64 min", "udp/4x64 C", "udp/4x64 C single",
		"tcp/64x1 nowd", "tcp/64x1 net", "tcp/64x1 min", "tcp/64x1 C"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q; %q", got, want, rep.Notes)
	}
}

func TestAgeIsTheTimeSinceAnAnswer(t *testing.T) {
	zone := time.FixedZone("", 5*3600+1800)
	at := time.Date(2026, 11, 20, 23, 59, 59, 999_990_000, zone)
	for _, age := range []time.Duration{0, 7 * time.Microsecond, 20 * time.Microsecond, time.Hour, -time.Second} {
		d, ok := timeOfDay(at.AppendFormat(nil, layout))
		if got := ageOf(d, at.Add(age)); !ok || got != age {
			t.Errorf("%v, %v, want %v", got, ok, age)
		}
	}
	for _, bad := range []string{"", "hi\n", "2026-11-20 23:59:59.99999x\n", "2026-11-20 23:59:59.9999999\n"} {
		if _, ok := timeOfDay([]byte(bad)); ok {
			t.Errorf("%q is taken for an answer", bad)
		}
	}
}

func TestMemoryOfIdleConnections(t *testing.T) {
	rep := quick(t, "-run", "^idle/tcp/15000$")
	// A goroutine's stack alone is 2 KiB.
	if len(rep.Rows) != 1 || rep.Rows[0].Rivals[0].Values[0] < 2048 {
		t.Errorf("%+v, %q", rep.Rows, rep.Notes)
	}
}

func TestCallsAreCounted(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	rep := quick(t, "-run", "^calls/tcp/64x16$")
	if len(rep.Rows) != 1 {
		t.Fatalf("%d rows; %q", len(rep.Rows), rep.Notes)
	}
	// A server reads and writes at least once per batch of 16.
	const least = 2. / 16
	if r := rep.Rows[0]; min(r.Values[0], r.Rivals[0].Values[0], r.Rivals[1].Values[0]) < least {
		t.Errorf("%+v", r)
	}
}

// TestBaselinesAnswerEachLine: like nowd, net and min answer each of several pipelined lines.
func TestBaselinesAnswerEachLine(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"net", "min"} {
		srv, err := baseline(self, name).start(t.Context(), "", "tcp")
		if err != nil {
			t.Fatal(err)
		}
		defer srv.stop()
		c, err := net.Dial("tcp", srv.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		for _, lines := range []int{1, 3, 16} {
			if _, err := io.WriteString(c, strings.Repeat("hi\n", lines)); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, lines*layoutSize)
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatalf("%s, %d lines: %v", name, lines, err)
			}
			for answer := range slices.Chunk(b, layoutSize) {
				if err := checkTime(string(answer)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

func TestMinFormatsLikeTheStandardLibrary(t *testing.T) {
	var a minAnswer
	at := time.Date(2026, 11, 20, 17, 17, 42, 813729999, time.Local)
	for _, d := range []time.Duration{0, time.Microsecond, time.Second, 187 * time.Millisecond, 24 * time.Hour, -time.Hour} {
		at = at.Add(d)
		if got, want := string(a.at(at)), at.Format(layout); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestStartReportsTheServersError(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := baseline(self, "none").start(t.Context(), "", "udp"); err == nil || !strings.Contains(err.Error(), "no such server") {
		t.Error(err)
	}
}

// script returns a server that is a shell script.
func script(text string) server {
	return server{"script", func(ctx context.Context, cpus, _ string, _ netip.AddrPort) (*exec.Cmd, error) {
		return command(ctx, cpus, "sh", "-c", text), nil
	}}
}

func TestStartReportsThatTheServerEnded(t *testing.T) {
	if _, err := script("exit 0").start(t.Context(), "", "udp"); err == nil || err.Error() != "script over udp: the server exited: exit status 0" {
		t.Error(err)
	}
}

func TestErrorHasTheEndOfALongOutput(t *testing.T) {
	_, err := script("yes | head -n 100000 >&2; echo out of memory >&2; exit 3").start(t.Context(), "", "udp")
	if err == nil || len(err.Error()) > 3000 || !strings.HasSuffix(err.Error(), "out of memory") {
		t.Errorf("%.3000v", err)
	}
}

// TestChildOfAServerDoesNotDelayTheBench: it has the server's standard error.
func TestChildOfAServerDoesNotDelayTheBench(t *testing.T) {
	began := time.Now()
	if _, err := script("sleep 20 & exit 3").start(t.Context(), "", "udp"); err == nil || !strings.HasSuffix(err.Error(), "exit status 3") {
		t.Error(err)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("waited %v for a child of the server", took)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range [][]string{
		{"measure"}, {"-pairs", "0"}, {"-seconds", "0"}, {"-seconds", "NaN"}, {"-run", "("}, {"-run", "sctp"}, {"-o", "xml"}, {"-x"},
		{"serve"}, {"serve", "net", "udp", "here"}, {"serve", "net", "sctp", "127.0.0.1:1"}, {"serve", "min", "udp", "127.0.0.1:1", "now"},
		{"load", "-network", "sctp"}, {"load", "-depth", "65"}, {"load", "-sockets", "0"}, {"load", "now"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(args, &stdout, &stderr); status != 2 || stderr.Len() == 0 || stdout.Len() != 0 {
			t.Errorf("%q: %d %s", args, status, &stderr)
		}
	}
}

func TestQuartilesLieBetweenNeighbours(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{2, 1}, spread{1.25, 1.5, 1.75}},
		{[]float64{5, 1, 4, 2, 3}, spread{2, 3, 4}},
		{[]float64{7, 1, 3, 5}, spread{2.5, 4, 5.5}},
		{[]float64{1, 1, 1, 100, 1, 1, 1}, spread{1, 1, 1}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("%v: %v, want %v", c.values, got, c.want)
		}
	}
}

func TestRatiosAreTakenWithinRounds(t *testing.T) {
	// In the second round the machine was half as fast. In the third, b has no value.
	if got := ratiosOf([]float64{10, 20, 10}, []float64{20, 40, 0}); len(got) != 2 || got[0] != 0.5 || got[1] != 0.5 {
		t.Error(got)
	}
}

func TestFirstServerIsMeasuredInTheMiddle(t *testing.T) {
	for n, want := range map[int]string{2: "1001", 3: "102201", 5: "1203443021"} {
		var got strings.Builder
		for round := range 2 {
			for _, i := range orderOf(n, round) {
				fmt.Fprint(&got, i)
			}
		}
		if got.String() != want {
			t.Errorf("%d servers: %s, want %s", n, &got, want)
		}
	}
}

func TestHistogramIsExactToOnePartIn128(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 63, 64, 127, 128, 129, 1000, 12345, time.Millisecond, time.Second, 10 * time.Minute} {
		var h histogram
		h.add(d)
		h.add(time.Hour)
		if got := h.quantile(0.5); (got - d).Abs() > d/128 {
			t.Errorf("%d: %d", d, got)
		}
		if h.percentiles().Max != time.Hour {
			t.Error(h.percentiles())
		}
	}
	var h histogram
	if h.percentiles() != (percentiles{}) {
		t.Error(h.percentiles())
	}
	for d := range time.Duration(101) {
		h.add(100 - d)
	}
	if got, want := h.percentiles(), (percentiles{50, 99, 100}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	h = histogram{}
	h.add(-5)
	if h.percentiles() != (percentiles{}) {
		t.Error(h.percentiles())
	}
}

func TestSumCallsOfEachVersionOfStrace(t *testing.T) {
	for table, want := range map[string]uint64{
		`% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000300           3       100           recvmmsg
 40.00    0.000200           2       100         7 sendmmsg
------ ----------- ----------- --------- --------- ----------------
100.00    0.000500           2       200         7 total
`: 200,
		`% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
  0.00    0.000000           0        42           epoll_pwait
------ ----------- ----------- --------- --------- ----------------
100.00    0.000000                    42           total
`: 42,
	} {
		if got, err := sumCalls([]byte(table)); err != nil || got != want {
			t.Errorf("%d, %v; want %d", got, err, want)
		}
	}
	if _, err := sumCalls([]byte("no such process\n")); err == nil {
		t.Error("an error message is taken for a table")
	}
}

// sample returns a report with characters to escape, missing ratios, and large and small
// values.
func sample() *report {
	r := newReport("A <note> & more.")
	r.Machine = "A <machine> & more"
	rivals := func(ratios ...float64) (all []rival) {
		for i, ratio := range ratios {
			v := rival{Name: []string{"net", "min"}[i], Median: 100}
			if ratio > 0 {
				v.Ratios = []float64{ratio}
				v.Ratio = spread{ratio / 2, ratio, ratio * 2}
			}
			all = append(all, v)
		}
		return all
	}
	r.Rows = []row{
		{Scenario: "udp/4x64", Figure: "CPU, ns/answer", Main: true, Name: "nowd", Median: 2345, Rivals: rivals(0.5, 1.1)},
		{Scenario: "udp/4x64", Figure: "answers/s", More: true, Name: "nowd", Median: 2e5, Rivals: rivals(2, 1)},
		{Scenario: "idle/tcp", Figure: "bytes/connection", Main: true, Name: "nowd", Median: 0, Rivals: rivals(0.001, 0)},
		{Scenario: "loops/udp", Figure: "CPU, ns/answer", Main: true, Name: "two loops", Median: 9.5, Rivals: []rival{{Name: "one loop", Ratio: spread{1, 1, 1}, Ratios: []float64{1}}}},
		{Scenario: "age/udp/4x64", Figure: ageP50.name, Main: true, Name: "nowd", Median: 6.9, Rivals: rivals(3, 0.2)},
		{Scenario: "age/udp/4x64", Figure: ageP99.name, Name: "nowd", Median: 12.4, Rivals: rivals(0.8, 0)},
	}
	return r
}

func wellFormed(b []byte) error {
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func TestChartIsWellFormed(t *testing.T) {
	for _, r := range []*report{sample(), {}} {
		b := r.svg()
		if err := wellFormed(b); err != nil {
			t.Errorf("%v in %s", err, b)
		}
		for _, bad := range []string{"NaN", "Inf", "href", `width="-`} {
			if bytes.Contains(b, []byte(bad)) {
				t.Errorf("%s in %s", bad, b)
			}
		}
	}
}

func TestTableHasARowForEachFigure(t *testing.T) {
	var b bytes.Buffer
	if err := sample().print(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"A <note> & more.\n",
		"scenario  figure            nowd  net  against net       min  against min\n",
		"udp/4x64  CPU, ns/answer    2345  100  0.50 [0.25–1.00]  100  1.10 [0.55–2.20]\n",
		"idle/tcp  bytes/connection  0.00  100  0.00 [0.00–0.00]  100  -\n",
		"loops/udp  CPU, ns/answer  9.50       0.00      1.00 [1.00–1.00]\n",
		"answers/s (more is better)  200000  ",
		"load      server  CPU, ns/answer  age p50, µs  age p99, µs\n",
		"udp/4x64  nowd    2345            6.90         12.4\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
}
