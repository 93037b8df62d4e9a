package cluster

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// collecting returns a collector before its first round, and its handler.
func collecting(log io.Writer) (*collector, http.Handler) {
	c := newCollector(&options{maxSkew: 250 * ms, fetcher: fetcher{targets: make([]target, 1), timeout: time.Second}}, slog.New(slog.NewTextHandler(log, nil)))
	return c, c.handler()
}

// ask gets a path from a handler.
func ask(t *testing.T, h http.Handler, path string) (status int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String()
}

func TestMetricsNameTheNodesThatAreWrong(t *testing.T) {
	c, h := collecting(io.Discard)
	all := documents(0, 0, 80*ms, 0, 0, 5*ms, 0, 0)
	responses, members := fetched(all...)
	c.publish(reportOn(responses, members))
	status, body := ask(t, h, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("%d: %s", status, body)
	}
	for _, want := range []string{
		"nowd_cluster_nodes 8\n", "nowd_cluster_unmeasured_nodes 0\n", "nowd_cluster_skew_limit_seconds 0.25\n", "nowd_cluster_inconsistent_cycles 0\n",
		"nowd_cluster_skew_max_seconds 0.08", "nowd_cluster_skew_min_seconds 0.079",
		`nowd_cluster_node_wrong{node="node-2"} 1` + "\n", `nowd_cluster_node_wrong{node="node-5"} 0` + "\n",
		`nowd_cluster_node_bound_false{node="node-5"} 1` + "\n", `nowd_cluster_node_bound_false{node="node-0"} 0` + "\n",
		`nowd_cluster_node_unmeasured{node="node-0"} 0` + "\n",
		`nowd_cluster_node_offset_min_seconds{node="node-2"} 0.079`, `nowd_cluster_node_offset_max_seconds{node="node-2"} 0.080`,
		"nowd_cluster_round_age_seconds ", "process_resident_memory_bytes ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
}

// TestMetricsOmitWhatIsUnknown: values before the first round, and the offsets of members
// that are not measured.
func TestMetricsOmitWhatIsUnknown(t *testing.T) {
	_, h := collecting(io.Discard)
	if _, body := ask(t, h, "/metrics"); strings.Count(body, "\nnowd_cluster_") != 1 {
		t.Errorf("before the first round:\n%s", body)
	}
	c, h := collecting(io.Discard)
	responses, members := fetched(documents(0, 0, 0, 0, 0)...)
	responses[1].document, responses[1].err = nil, errors.New("no answer")
	c.publish(reportOn(responses, members))
	_, body := ask(t, h, "/metrics")
	const missing = `{node="10.0.0.1:10123"}`
	if !strings.Contains(body, "nowd_cluster_unmeasured_nodes 1\n") || !strings.Contains(body, "nowd_cluster_node_unmeasured"+missing+" 1\n") || strings.Count(body, missing) != 1 {
		t.Error(body)
	}
	c, h = collecting(io.Discard)
	c.publish(reportOn(nil, nil))
	if _, body := ask(t, h, "/metrics"); !strings.Contains(body, "nowd_cluster_nodes 0\n") || strings.Contains(body, "skew_max") {
		t.Error(body)
	}
}

// TestMembersCannotCorruptTheMetrics: duplicate, long and malicious names become unique, valid
// labels.
func TestMembersCannotCorruptTheMetrics(t *testing.T) {
	all := documents(0, 0, 0, 0, 0)
	all[0].Node, all[1].Node = "same", "same"
	all[2].Node = "same at 10.0.0.1:10123"
	all[3].Node = strings.Repeat("x", maxEntries)
	all[4].Node = "\x00\"\n\\<script>"
	c, h := collecting(io.Discard)
	c.publish(reportOn(fetched(all...)))
	status, body := ask(t, h, "/metrics")
	if status != http.StatusOK || strings.Count(body, "\nnowd_cluster_node_wrong{") != 5 || strings.Contains(body, strings.Repeat("x", 254)) {
		t.Errorf("%d: %s", status, body)
	}
	for _, path := range []string{"/plot.svg", "/narrow.svg"} {
		if _, picture := ask(t, h, path); strings.Contains(picture, "<script") {
			t.Errorf("%s: %s", path, picture)
		}
	}
}

func TestReadyOnceAMemberHasAnswered(t *testing.T) {
	c, h := collecting(io.Discard)
	check := func(when, path string, want int) {
		t.Helper()
		if got, body := ask(t, h, path); got != want {
			t.Errorf("%s: %s: %d, want %d: %s", when, path, got, want, body)
		}
	}
	check("at the start", "/live", http.StatusOK)
	check("at the start", "/ready", http.StatusServiceUnavailable)
	check("at the start", "/plot.svg", http.StatusServiceUnavailable)
	c.publish(reportOn(nil, nil))
	check("without members", "/ready", http.StatusServiceUnavailable)
	c.publish(reportOn(fetched(documents(0, 0, 0)...)))
	check("with members", "/ready", http.StatusOK)
	c.publish(reportOn(nil, nil))
	check("after the members are gone", "/ready", http.StatusOK) // the page has to show it
	c.ended = time.Now().Add(-c.stuck)
	check("when rounds have stopped", "/live", http.StatusServiceUnavailable)
	check("when rounds have stopped", "/ready", http.StatusServiceUnavailable)
}

// TestSlowestRoundIsAlive: /live allows the longest round, with the most members, none of
// which answers.
func TestSlowestRoundIsAlive(t *testing.T) {
	o := parsed(t, "-w", "-listen", ":0", "a")
	if got := newCollector(o, slog.New(slog.DiscardHandler)).stuck; got < 15*time.Minute || got > 20*time.Minute {
		t.Error(got)
	}
}

func TestPageNamesWhatIsWrong(t *testing.T) {
	c, h := collecting(io.Discard)
	current := func() (s status) {
		t.Helper()
		_, body := ask(t, h, "/status")
		if err := json.Unmarshal([]byte(body), &s); err != nil || strings.Contains(body, "null") {
			t.Fatalf("%v: %s", err, body)
		}
		return s
	}
	if s := current(); s.Round != 0 {
		t.Errorf("%+v", s)
	}
	c.publish(reportOn(fetched(documents(0, 0, 80*ms, 0, 0)...)))
	s := current()
	if s.Round != 1 || s.Nodes != 5 || len(s.Summary) != 2 || fmt.Sprint(s.Wrong, s.BoundFalse) != "[node-2] [node-2]" ||
		len(s.Problems) != 2 || !strings.Contains(s.Problems[0].Text, "contradicted by 4 of 4 others") {
		t.Errorf("%+v", s)
	}
	c.publish(reportOn(fetched(documents(make([]time.Duration, 5)...)...)))
	if s := current(); s.Round != 2 || len(s.Problems) != 0 || len(s.Wrong) != 0 {
		t.Errorf("%+v", s)
	}
	if _, body := ask(t, h, "/"); strings.Contains(body, "http://") || strings.Contains(body, "https://") || strings.Contains(body, "@import") || strings.Contains(body, "innerHTML") {
		t.Error("the page loads something from another host, or sets markup from members")
	}
}

// TestPageHasTheWrongOnesFirst: the page lists wrong nodes first, and counts the problems
// that it does not list.
func TestPageHasTheWrongOnesFirst(t *testing.T) {
	errs := make([]time.Duration, 400)
	errs[399] = 80 * ms
	responses, members := fetched(documents(errs...)...)
	for i := range 150 {
		responses[i].document, responses[i].err = nil, errors.New("no answer")
	}
	c, h := collecting(io.Discard)
	c.publish(reportOn(responses, members))
	_, body := ask(t, h, "/status")
	var s status
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Problems) != 100 || s.More < 52 || s.Problems[0].Kind != "wrong" || s.Problems[1].Kind != "bound_false" || fmt.Sprint(s.Wrong) != "[node-399]" {
		t.Errorf("%d problems, %d more, wrong: %v; the first are %+v", len(s.Problems), s.More, s.Wrong, s.Problems[:3])
	}
}

// TestPictureHasTheWrongOnesFirst: the pictures of 200 nodes begin with the wrong one.
func TestPictureHasTheWrongOnesFirst(t *testing.T) {
	errs := make([]time.Duration, 200)
	errs[77] = -80 * ms
	c, h := collecting(io.Discard)
	c.publish(reportOn(fetched(documents(errs...)...)))
	for path, width := range map[string]string{"/plot.svg": "1000", "/narrow.svg": "380"} {
		_, picture := ask(t, h, path)
		var svg struct {
			Width string `xml:"width,attr"`
			Rows  []struct {
				Title string `xml:"title"`
			} `xml:"g"`
		}
		if err := xml.Unmarshal([]byte(picture), &svg); err != nil {
			t.Fatal(err)
		}
		if len(svg.Rows) != 200 || svg.Rows[0].Title != "node-77" || svg.Width != width {
			t.Errorf("%s: %d rows, the first is %v, width %s", path, len(svg.Rows), svg.Rows[0], svg.Width)
		}
	}
}

func TestChangesAreLoggedOnce(t *testing.T) {
	var log strings.Builder
	c, _ := collecting(&log)
	for _, errs := range [][]time.Duration{{0, 0, 0}, {0, 0, 0}, {0, 80 * ms, 0}, {0, 81 * ms, 0}, {0, 0, 0}} {
		c.publish(reportOn(fetched(documents(errs...)...)))
	}
	if strings.Count(log.String(), "\n") != 3 || strings.Count(log.String(), "msg=\"no problems\" nodes=3\n") != 2 || !strings.Contains(log.String(), `problems="wrong: node-1; bound false: node-1"`) {
		t.Error(log.String())
	}
}

// TestOneMemberDoesNotSetTheInterval: the interval between rounds is the median of
// the members' intervals.
func TestOneMemberDoesNotSetTheInterval(t *testing.T) {
	all := documents(0, 0, 0)
	all[0].Interval, all[1].Interval, all[2].Interval = 1, 16*time.Second, 16*time.Second
	o := parsed(t, serve(t, all...)...)
	if _, interval := o.report(t.Context()); interval != 16*time.Second {
		t.Error(interval)
	}
	o.interval = time.Minute
	if _, interval := o.report(t.Context()); interval != time.Minute {
		t.Error(interval)
	}
}

func TestServesUntilItIsEnded(t *testing.T) {
	serving := func(ctx context.Context) (addr string, l net.Listener, ended chan int) {
		t.Helper()
		o := parsed(t, append([]string{"-w", "-i", "1ms", "-listen", "127.0.0.1:0"}, serve(t, documents(0, 0, 0)...)...)...)
		var err error
		if l, err = net.Listen("tcp", o.listen); err != nil {
			t.Fatal(err)
		}
		ended = make(chan int, 1)
		go func() { ended <- o.serve(ctx, l, slog.New(slog.DiscardHandler)) }()
		return l.Addr().String(), l, ended
	}
	ctx, cancel := context.WithCancel(t.Context())
	addr, _, ended := serving(ctx)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		r, err := http.Get("http://" + addr + "/ready")
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the collector does not become ready", err)
		}
	}
	cancel()
	if status := <-ended; status != 0 {
		t.Errorf("exit status %d after a signal", status)
	}

	_, l, ended := serving(t.Context())
	l.Close() // the listener fails
	if status := <-ended; status != 1 {
		t.Errorf("exit status %d after the listener failed, want 1", status)
	}
}
