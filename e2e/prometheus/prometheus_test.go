//go:build linux

// Package prometheus_test checks the chart's alerts and dashboard against nowd's metrics: a real Prometheus with the
// alerts scrapes a real nowd with traffic, and each query must return a series.
//
// Without prometheus or promtool the tests are skipped. With CI=true they fail.
package prometheus_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	dashboardFile = "../../helm/nowd/monitoring/dashboard.json"

	patience = 30 * time.Second
	interval = 100 * time.Millisecond
)

// rulesFiles are the rules about single hosts, and those about the nodes' clocks.
var rulesFiles = []string{"../../helm/nowd/monitoring/rules.yaml", "../../helm/nowd/monitoring/cluster.yaml"}

func TestRulesFireWhenTheyShouldAndOnlyThen(t *testing.T) {
	promtool := tool(t, "promtool")
	for _, file := range rulesFiles {
		testFile := strings.TrimSuffix(file, ".yaml") + "_test.yaml"
		for _, args := range [][]string{{"check", "rules", file}, {"test", "rules", testFile}} {
			if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
				t.Errorf("promtool %q: %v\n%s", args, err, out)
			}
		}
		rules, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tests, err := os.ReadFile(testFile)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^ +- alert: (\w+)$`).FindAllSubmatch(rules, -1) {
			if !regexp.MustCompile(`alertname: ` + string(m[1]) + `\n +eval_time: .*\n +exp_alerts:`).Match(tests) {
				t.Errorf("in no test of the rules the alert %s fires", m[1])
			}
		}
	}
}

// dashboard has the fields of Grafana's format that the tests use.
type dashboard struct {
	Panels []struct {
		ID      int
		Title   string
		Targets []struct{ Expr, RefID string }
	}
	Templating struct {
		List []struct{ Name, Type string }
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	b, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDashboardIsReadAtAGlance(t *testing.T) {
	d := readDashboard(t)
	if n := len(d.Panels); n == 0 || n > 10 {
		t.Errorf("%d panels, want at most 10", n)
	}
	seen := make(map[int]bool)
	for _, p := range d.Panels {
		if seen[p.ID] {
			t.Errorf("panels %q and another have the same id, %d", p.Title, p.ID)
		}
		seen[p.ID] = true
		if len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
	}
}

func TestEveryQueryHasAnAnswer(t *testing.T) {
	n, collector := startNowd(t)
	p := startPrometheus(t, n.health, collector)

	// A rate needs at least two scrapes with requests between them.
	const compared = `nowd_clock_upstream_offset_seconds{job="nowd"}`
	const measured = `nowd_cluster_node_offset_max_seconds{job="nowd-cluster"}`
	for deadline := time.Now().Add(patience); p.scrapes(t) < 3 || len(p.query(t, compared)) == 0 || len(p.query(t, measured)) == 0; time.Sleep(interval) {
		n.ask(t)
		if time.Now().After(deadline) {
			t.Fatalf("within %v there are no three scrapes, no comparison with the upstream, or no measurement of another member", patience)
		}
	}

	for _, a := range p.alerts(t) {
		if a.Health != "ok" {
			t.Errorf("alert %s: %s", a.Name, a.LastError)
		}
	}
	queries := make(map[string]string)
	for _, a := range p.alerts(t) {
		queries["alert "+a.Name] = a.Query
	}
	if len(queries) == 0 {
		t.Fatal("Prometheus has no alerts")
	}
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			queries[fmt.Sprintf("panel %q, %s", panel.Title, target.RefID)] = grafana.Replace(target.Expr)
		}
	}
	for what, query := range queries {
		if left := regexp.MustCompile(`\$\w+`).FindString(query); left != "" {
			t.Errorf("%s: the test does not know the variable %s: %s", what, left, query)
			continue
		}
		if len(p.query(t, boolean(query))) == 0 {
			t.Errorf("%s: no series: %s", what, query)
		}
	}
}

// TestNoQueryFindsWhatIsNotThere shows that TestEveryQueryHasAnAnswer can fail.
func TestNoQueryFindsWhatIsNotThere(t *testing.T) {
	for query, want := range map[string]string{
		`up{job="nowd"} == 0 or absent(up{job="nowd"}) == 1`: `up{job="nowd"} == bool 0 or absent(up{job="nowd"}) == bool 1`,
		`a{b=~".*"} > 0.5 and c >= 1`:                        `a{b=~".*"} > bool 0.5 and c >= bool 1`,
	} {
		if got := boolean(query); got != want {
			t.Errorf("%s became %s, want %s", query, got, want)
		}
	}
	p := startPrometheus(t, "127.0.0.1:1", "127.0.0.1:1") // a closed port
	for deadline := time.Now().Add(patience); len(p.query(t, `up{job="nowd"}`)) == 0; time.Sleep(interval) {
		if time.Now().After(deadline) {
			t.Fatal("Prometheus does not report that nowd is down")
		}
	}
	for _, query := range []string{"nowd_requests_total", boolean("nowd_clock_synced == 0")} {
		if n := len(p.query(t, query)); n != 0 {
			t.Errorf("%s has %d series without a nowd", query, n)
		}
	}
}

// boolean makes comparisons return 0 or 1, instead of dropping the series for which they do not hold.
func boolean(query string) string {
	return regexp.MustCompile(` (==|!=|>=|<=|>|<) `).ReplaceAllString(query, " $1 bool ")
}

// grafana replaces the dashboard's variables as Grafana does.
var grafana = strings.NewReplacer("$__rate_interval", "20s", "$instance", ".*")

// nowd is a running nowd.
type nowd struct{ udp, tcp, health string }

// startNowd starts a nowd, another member of the same cluster, and a collector.
func startNowd(t *testing.T) (n *nowd, collector string) {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "nowd")
	build := exec.Command("go", "build", "-o", binary, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	n = &nowd{udp: freePort(t), tcp: freePort(t), health: freePort(t)}
	ntp, other, otherHealth, collector := freePort(t), freePort(t), freePort(t), freePort(t)
	// The kernel of a test machine may know no error bound.
	common := []string{"NOWD_UPSTREAM=" + serveNTP(t), "NOWD_UPSTREAM_INTERVAL=1s", "NOWD_PEERS=" + ntp + "," + other, "NOWD_PEERS_INTERVAL=2s"}
	for _, env := range [][]string{
		{"NOWD_UDP_LISTEN=" + n.udp, "NOWD_TCP_LISTEN=" + n.tcp, "NOWD_NTP_LISTEN=" + ntp, "NOWD_HEALTH_LISTEN=" + n.health},
		{"NOWD_UDP_LISTEN=off", "NOWD_TCP_LISTEN=off", "NOWD_NTP_LISTEN=" + other, "NOWD_HEALTH_LISTEN=" + otherHealth},
	} {
		cmd := exec.Command(binary)
		cmd.Env = append(env, common...)
		start(t, cmd)
	}
	start(t, exec.Command(binary, "cluster", "-w", "-max-skew", "250ms", "-listen", collector, n.health, otherHealth))
	for _, addr := range []string{n.health, otherHealth, collector} {
		await(t, "http://"+addr+"/ready")
	}
	return n, collector
}

// ask asks once over each protocol.
func (n *nowd) ask(t *testing.T) {
	t.Helper()
	for network, addr := range map[string]string{"udp": n.udp, "tcp": n.tcp} {
		conn, err := net.DialTimeout(network, addr, patience)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := conn.Write([]byte("unix\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
}

// serveNTP answers NTP clients with this machine's time, as a stratum 1 server.
func serveNTP(t *testing.T) (addr string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		b := make([]byte, 48)
		for {
			n, client, err := conn.ReadFrom(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil || n < len(b) {
				continue
			}
			// RFC 5905, section 7.3.
			answer := make([]byte, 48)
			answer[0] = b[0]&0o70 | 4 // no leap second, the client's version, server
			answer[1] = 1             // stratum
			answer[2], answer[3] = b[2], 0xec
			copy(answer[12:], "TEST")
			now := ntpTime(time.Now())
			binary.BigEndian.PutUint64(answer[16:], now-1<<32) // reference, a second ago
			copy(answer[24:], b[40:])                          // origin
			binary.BigEndian.PutUint64(answer[32:], now)
			binary.BigEndian.PutUint64(answer[40:], now)
			_, _ = conn.WriteTo(answer, client)
		}
	}()
	return conn.LocalAddr().String()
}

// ntpTime returns an NTP timestamp: 32 bits of seconds since 1900, and 32 bits of fraction.
func ntpTime(t time.Time) uint64 {
	const from1900 = 2_208_988_800
	return uint64(t.Unix()+from1900)<<32 | uint64(t.Nanosecond())<<32/1_000_000_000
}

// prometheus is the address of a running Prometheus.
type prometheus string

// startPrometheus starts a Prometheus that scrapes a nowd and a collector every second, with the job names that the
// rules expect.
func startPrometheus(t *testing.T, nowd, collector string) prometheus {
	t.Helper()
	path := tool(t, "prometheus")
	dir := t.TempDir()
	var rules []string
	for _, file := range rulesFiles {
		path, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, path)
	}
	job := func(name, target string) any {
		return map[string]any{"job_name": name, "static_configs": []any{map[string]any{"targets": []string{target}}}}
	}
	// JSON is YAML.
	config, err := json.Marshal(map[string]any{
		"global":         map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files":     rules,
		"scrape_configs": []any{job("nowd", nowd), job("nowd-cluster", collector)},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.json")
	if err := os.WriteFile(file, config, 0o644); err != nil {
		t.Fatal(err)
	}
	addr := freePort(t)
	start(t, exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+addr, "--log.level=warn"))
	await(t, "http://"+addr+"/-/ready")
	return prometheus(addr)
}

// scrapes returns the number of scrapes of nowd.
func (p prometheus) scrapes(t *testing.T) int {
	t.Helper()
	series := p.query(t, `count_over_time(nowd_build_info{job="nowd"}[1m])`)
	if len(series) == 0 {
		return 0
	}
	var n int
	if _, err := fmt.Sscan(series[0], &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// query returns the values of a query's series.
func (p prometheus) query(t *testing.T, query string) (values []string) {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	p.get(t, "/api/v1/query?query="+url.QueryEscape(query), &data)
	for _, series := range data.Result {
		values = append(values, fmt.Sprint(series.Value[1]))
	}
	return values
}

type alert struct{ Name, Query, Health, LastError string }

// alerts waits until each rule has been evaluated, and returns the rules.
func (p prometheus) alerts(t *testing.T) (all []alert) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(interval) {
		var data struct {
			Groups []struct{ Rules []alert }
		}
		p.get(t, "/api/v1/rules?type=alert", &data)
		all = nil
		for _, g := range data.Groups {
			all = append(all, g.Rules...)
		}
		if !slices.ContainsFunc(all, func(a alert) bool { return a.Health == "unknown" }) {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all rules are evaluated within %v", patience)
		}
	}
}

// get sends a GET request to the API, and decodes the result into data.
func (p prometheus) get(t *testing.T, path string, data any) {
	t.Helper()
	b, err := get("http://" + string(p) + path)
	if err == nil {
		var said struct {
			Status, Error string
			Data          json.RawMessage
		}
		if err = json.Unmarshal(b, &said); err == nil && said.Status != "success" {
			err = errors.New(said.Error)
		}
		if err == nil {
			err = json.Unmarshal(said.Data, data)
		}
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", path, err, b)
	}
}

func get(url string) ([]byte, error) {
	client := http.Client{Timeout: patience}
	r, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = errors.New(r.Status)
	}
	return b, err
}

// await waits until a URL returns status 200.
func await(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(interval) {
		_, err := get(url)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", url, err)
		}
	}
}

// start starts a process that must run until the test ends.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var log bytes.Buffer
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", cmd.Path, err)
		}
		if t.Failed() {
			t.Logf("%s:\n%s", cmd.Path, log.String())
		}
	})
}

// freePort returns an address that was free a moment ago, over UDP and TCP. Its port is below the kernel's ephemeral
// ports, so that no client takes it.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 30_000+rand.IntN(2_000))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		c, err := net.ListenPacket("udp", addr)
		l.Close()
		if err == nil {
			c.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// tool returns the path of a program that the test needs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	return path
}
