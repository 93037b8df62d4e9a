//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	collectorAddr  = "10.77.0.100:8087"
	prometheusAddr = "10.77.0.100:9090"

	// alertPatience is the time limit for an alert to fire, and to end.
	alertPatience = time.Minute
)

// TestAlertsNameTheNodeWhoseClockIsWrong runs a collector and a real Prometheus for five members. The test restarts the
// collector, replaces all members in turn, and sets the clock of one wrong and right again.
func TestAlertsNameTheNodeWhoseClockIsWrong(t *testing.T) {
	if testing.Short() {
		t.Skip("takes minutes")
	}
	t.Parallel()
	tool(t, "prometheus")
	c := newPeersCluster(t, 5)
	for _, m := range c.members {
		c.start(t, m, 0)
	}
	collector := c.collect(t)
	p := c.startPrometheus(t)
	c.awaitHealthy(t, collector)
	stop(t, collector)
	collector = c.collect(t)
	c.awaitHealthy(t, collector)
	for _, m := range c.members {
		m.stopped(t)
		c.start(t, m, 0)
		c.awaitHealthy(t, collector)
	}
	eventually(t, patience, func() error { // Prometheus has scraped all of that
		if got := p.query(t, "count_over_time(nowd_cluster_nodes[1m])"); len(got) == 0 || got[0].value < 5 {
			return fmt.Errorf("%v scrapes", got)
		}
		return nil
	})
	for _, never := range []string{
		`ALERTS{alertstate="firing"}`,
		`max_over_time(nowd_cluster_node_wrong[10m]) > 0`, `max_over_time(nowd_cluster_node_bound_false[10m]) > 0`,
		`nowd_cluster_skew_max_seconds > nowd_cluster_skew_limit_seconds`,
	} {
		if got := p.query(t, never); len(got) > 0 {
			t.Errorf("collector restarted, members rolled: %s: %v", never, got)
		}
	}

	far := c.members[2]
	far.stopped(t)
	c.start(t, far, 80*time.Millisecond)
	c.awaitAlerts(t, p, "a clock is set wrong", "NowdNodeBoundFalse node-2, NowdNodeClockWrong node-2")
	c.checkPage(t, "wrong: node-2")

	far.stopped(t)
	c.start(t, far, 0)
	c.awaitAlerts(t, p, "it is put right", "")
	c.checkPage(t, "5 clocks, no problems")
}

// collect starts a collector.
func (c *peersCluster) collect(t *testing.T) *nowd {
	t.Helper()
	path, err := fakeBinary()
	if err != nil {
		t.Fatal(err)
	}
	n := &nowd{health: collectorAddr, ns: c.hub, args: c.withHosts(path, "cluster", "-w", "-listen", collectorAddr, "-max-skew", "250ms", clusterName)}
	n.run(t, "unshare", []string{"PATH=" + os.Getenv("PATH"), "GORACE=atexit_sleep_ms=0"})
	n.awaitReady(t, http.StatusOK)
	return n
}

// awaitHealthy waits until all members are measured again, in a round that began after the call.
func (c *peersCluster) awaitHealthy(t *testing.T, collector *nowd) {
	t.Helper()
	began := time.Now()
	eventually(t, patience, func() error {
		since := time.Since(began) - time.Second // the metrics are cached for a second
		if age := collector.metric(t, "nowd_cluster_round_age_seconds"); age > since.Seconds() {
			return fmt.Errorf("the last round was %vs ago", age)
		}
		if n := collector.metric(t, "nowd_cluster_unmeasured_nodes"); n > 0 {
			return fmt.Errorf("%v members are not measured", n)
		}
		return nil
	})
}

// stop ends a process as Kubernetes does: with SIGTERM.
func stop(t *testing.T, n *nowd) {
	t.Helper()
	n.signal(t, os.Interrupt)
	if status := n.wait(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// prometheus is a running Prometheus, in the collector's network.
type prometheus struct{ *nowd }

// startPrometheus starts a Prometheus that scrapes the collector every second, with the chart's alerts.
func (c *peersCluster) startPrometheus(t *testing.T) prometheus {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs("../helm/nowd/monitoring/cluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{ // JSON is YAML
		"global":         map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files":     []string{rules},
		"scrape_configs": []any{map[string]any{"job_name": "nowd-cluster", "static_configs": []any{map[string]any{"targets": []string{collectorAddr}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.json")
	if err := os.WriteFile(file, config, 0o644); err != nil {
		t.Fatal(err)
	}
	p := prometheus{&nowd{health: prometheusAddr, ns: c.hub, args: []string{
		"--config.file=" + file, "--storage.tsdb.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + prometheusAddr, "--log.level=warn",
	}}}
	p.run(t, tool(t, "prometheus"), os.Environ())
	eventually(t, 2*patience, func() error {
		status, _, err := p.get("/-/ready", time.Second)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d", status)
		}
		return err
	})
	return p
}

// series is one series of a query's result.
type series struct {
	labels map[string]string
	value  float64
}

func (p prometheus) query(t *testing.T, query string) (all []series) {
	t.Helper()
	_, body, err := p.get("/api/v1/query?query="+url.QueryEscape(query), patience)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Status != "success" {
		t.Fatalf("%s: %v: %s", query, err, body)
	}
	for _, r := range answer.Data.Result {
		one := series{labels: r.Metric}
		if _, err := fmt.Sscan(fmt.Sprint(r.Value[1]), &one.value); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// awaitAlerts waits until exactly these alerts fire.
func (c *peersCluster) awaitAlerts(t *testing.T, p prometheus, what, want string) {
	t.Helper()
	began := time.Now()
	eventually(t, alertPatience, func() error {
		var firing []string
		for _, s := range p.query(t, `ALERTS{alertstate="firing"}`) {
			firing = append(firing, s.labels["alertname"]+" "+s.labels["node"])
		}
		slices.Sort(firing)
		if got := strings.Join(firing, ", "); got != want {
			return fmt.Errorf("%s: %q fire, want %q", what, got, want)
		}
		return nil
	})
	t.Logf("%s: after %v", what, time.Since(began).Round(time.Second))
}

// checkPage has a real browser run the collector's page, and checks its headline.
func (c *peersCluster) checkPage(t *testing.T, want string) {
	t.Helper()
	page, said := browse(t, c.hub, "http://"+collectorAddr+"/")
	_, headline, _ := strings.Cut(page, `<h1 id="verdict"`)
	headline, _, _ = strings.Cut(headline, "</h1>")
	if !strings.HasSuffix(headline, ">"+want) || said != "" {
		t.Errorf("the page says %q, want %q; the browser says %q", headline, want, said)
	}
	if strings.Count(page, "<g>") != len(c.members) {
		t.Errorf("the page has no picture of %d members: %s", len(c.members), page)
	}
}
