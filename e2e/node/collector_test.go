//go:build linux

package node_test

import (
	"encoding/json"
	"fmt"
	"io"
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

// alertPatience is the time limit for an alert to fire, and to end, with the chart's rules.
const alertPatience = time.Minute

// TestCollectorNamesTheMemberWhoseClockIsWrong runs the chart's collector, and a real Prometheus with the chart's
// alerts, for a DaemonSet. The cluster may have one node only, so five pods stand in for nodes: their labels make them
// members. The test can set their clocks wrong, because their image has a nowd with the tag fakeclock.
func TestCollectorNamesTheMemberWhoseClockIsWrong(t *testing.T) {
	fake := os.Getenv("NOWD_E2E_FAKE_IMAGE")
	if fake == "" {
		t.Skip("NOWD_E2E_FAKE_IMAGE names no image of a nowd with the tag fakeclock")
	}
	c := newCluster(t, "clocks")
	prometheusPath, err := exec.LookPath("prometheus")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	t.Parallel()
	c.install(t, "time", "nowd", "", "--set=mode=daemonset,cluster.enabled=true,networkPolicy.enabled=true")
	nodes := len(c.pods(t, "app.kubernetes.io/component=server"))
	c.standIn(t, fake, "member", 4)
	c.standIn(t, fake, "odd", 1)
	collector := "http://" + net.JoinHostPort(c.kubectl(t, "get", "service", "time-nowd-cluster", "--output=jsonpath={.spec.clusterIP}"), "8087")
	c.awaitMeasured(t, collector, nodes+5)
	p := startPrometheus(t, prometheusPath, strings.TrimPrefix(collector, "http://"), filepath.Join(c.charts, "nowd", "monitoring", "cluster.yaml"))

	for _, workload := range []string{"deployment/time-nowd-cluster", "daemonset/time-nowd", "statefulset/member", "statefulset/odd"} {
		c.kubectl(t, "rollout", "restart", workload)
		c.kubectl(t, "rollout", "status", workload, "--timeout="+patience.String())
	}
	c.awaitMeasured(t, collector, nodes+5)
	for _, never := range []string{`ALERTS{alertstate="firing"}`, `max_over_time(nowd_cluster_node_wrong[10m]) > 0`, `max_over_time(nowd_cluster_node_bound_false[10m]) > 0`} {
		if got := p.query(t, never); len(got) > 0 {
			t.Errorf("collector restarted, members rolled: %s: %v", never, got)
		}
	}

	c.setClock(t, "odd", 80*time.Millisecond)
	c.awaitAlerts(t, p, "a clock is set wrong", "NowdNodeBoundFalse odd-0, NowdNodeClockWrong odd-0")
	if page := read(t, collector+"/status"); !strings.Contains(page, `"wrong":["odd-0"]`) {
		t.Errorf("the page shows %s", page)
	}
	c.setClock(t, "odd", 0)
	c.awaitAlerts(t, p, "it is put right", "")
	if page := read(t, collector+"/status"); !strings.Contains(page, `"wrong":[]`) {
		t.Errorf("the page shows %s", page)
	}
}

// standIn creates pods that are members of the release's cluster.
func (c *cluster) standIn(t *testing.T, image, name string, replicas int) {
	t.Helper()
	labels := object{
		"app.kubernetes.io/name": "nowd", "app.kubernetes.io/instance": "time", "app.kubernetes.io/component": "server",
		"stands-in": name,
	}
	env := []object{{"name": "NOWD_NODE", "valueFrom": object{"fieldRef": object{"fieldPath": "metadata.name"}}}}
	for variable, value := range map[string]string{
		"NOWD_UDP_LISTEN": "off", "NOWD_TCP_LISTEN": "off", "NOWD_NTP_LISTEN": ":10123", "NOWD_PEERS": "time-nowd-peers:10123", "FAKE_CLOCK": fakeClock(0),
	} {
		env = append(env, object{"name": variable, "value": value})
	}
	c.create(t, c.namespace, object{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": object{"name": name}, "spec": object{
		"replicas": replicas, "podManagementPolicy": "Parallel", "serviceName": "time-nowd-peers",
		"selector": object{"matchLabels": object{"stands-in": name}},
		"template": object{"metadata": object{"labels": labels}, "spec": object{
			"automountServiceAccountToken": false, "enableServiceLinks": false, "terminationGracePeriodSeconds": 5,
			"containers": []object{{
				"name": "nowd", "image": image, "imagePullPolicy": "IfNotPresent", "securityContext": restricted(), "env": env,
				"readinessProbe": object{"httpGet": object{"path": "/ready", "port": 8086}, "periodSeconds": 1},
			}},
		}},
	}})
	c.kubectl(t, "rollout", "status", "statefulset/"+name, "--timeout="+patience.String())
}

// fakeClock returns the value of FAKE_CLOCK for a clock that is off by this much, and claims a small error.
func fakeClock(off time.Duration) string { return fmt.Sprintf(`{"shift_ns":%d}`, off.Nanoseconds()) }

// setClock replaces a pod by one whose clock is off.
func (c *cluster) setClock(t *testing.T, name string, off time.Duration) {
	t.Helper()
	c.kubectl(t, "set", "env", "statefulset/"+name, "FAKE_CLOCK="+fakeClock(off))
	c.kubectl(t, "rollout", "status", "statefulset/"+name, "--timeout="+patience.String())
}

// awaitMeasured waits until the collector knows this many members, all measured and none wrong.
func (c *cluster) awaitMeasured(t *testing.T, collector string, members int) {
	t.Helper()
	c.await(t, "all members measured", func() error {
		metrics, err := fetch(collector + "/metrics")
		if err != nil {
			return err
		}
		for _, want := range []string{fmt.Sprintf("\nnowd_cluster_nodes %d\n", members), "\nnowd_cluster_unmeasured_nodes 0\n"} {
			if !strings.Contains(metrics, want) {
				return fmt.Errorf("no %q in %s", want, strings.Join(regexp.MustCompile(`(?m)^nowd_cluster.*$`).FindAllString(metrics, -1), "\n"))
			}
		}
		return nil
	})
}

func (c *cluster) awaitAlerts(t *testing.T, p prometheus, what, want string) {
	t.Helper()
	began := time.Now()
	for {
		got := strings.Join(p.query(t, `ALERTS{alertstate="firing"}`), ", ")
		if got == want {
			break
		}
		if time.Since(began) > alertPatience {
			t.Fatalf("%s: %q fire after %v, want %q", what, got, alertPatience, want)
		}
		time.Sleep(interval)
	}
	t.Logf("%s: after %v", what, time.Since(began).Round(time.Second))
}

// prometheus is the address of a running Prometheus.
type prometheus string

// startPrometheus starts a Prometheus that scrapes the collector every second.
func startPrometheus(t *testing.T, path, collector, rules string) prometheus {
	t.Helper()
	dir := t.TempDir()
	config, err := json.Marshal(map[string]any{ // JSON is YAML
		"global":         map[string]any{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files":     []string{rules},
		"scrape_configs": []any{map[string]any{"job_name": "nowd-cluster", "static_configs": []any{map[string]any{"targets": []string{collector}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "prometheus.json")
	if err := os.WriteFile(file, config, 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(path, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr, "--log.level=warn")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(interval) {
		if _, err := fetch("http://" + addr + "/-/ready"); err == nil {
			return prometheus(addr)
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// query returns the alert, if it has one, and the node of each series.
func (p prometheus) query(t *testing.T, query string) (all []string) {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "http://"+string(p)+"/api/v1/query?query="+url.QueryEscape(query))), &answer); err != nil {
		t.Fatal(err)
	}
	for _, r := range answer.Data.Result {
		all = append(all, strings.TrimSpace(r.Metric["alertname"]+" "+r.Metric["node"]))
	}
	slices.Sort(all)
	return all
}

func read(t *testing.T, url string) string {
	t.Helper()
	body, err := fetch(url)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func fetch(url string) (string, error) {
	client := http.Client{Timeout: 10 * time.Second}
	r, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %s", url, r.StatusCode, body)
	}
	return string(body), err
}
