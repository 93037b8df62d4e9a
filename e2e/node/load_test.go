//go:build linux

package node_test

import (
	"cmp"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// loadSeconds returns the duration of a load in seconds: NOWD_E2E_LOAD, or somewhat longer than the liveness probe needs to
// fail.
func loadSeconds() string { return cmp.Or(os.Getenv("NOWD_E2E_LOAD"), "35") }

// TestLoadAloneRestartsNothing overloads a nowd with the CPU limit of a sidecar. No other test runs at the same time.
func TestLoadAloneRestartsNothing(t *testing.T) {
	for name, test := range map[string]func(t *testing.T){
		"read":                 func(t *testing.T) { connectionsOf(t, "read") },
		"unread":               func(t *testing.T) { connectionsOf(t, "unread") },
		"http":                 func(t *testing.T) { connectionsOf(t, "http") },
		"heads":                func(t *testing.T) { connectionsOf(t, "heads") },
		"ConnectionsAndAFlood": connectionsAndAFlood,
		"ItsOwnApplication":    itsOwnApplication,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// connectionsOf loads nowd with busy connections of one kind, and with datagrams.
func connectionsOf(t *testing.T, kind string) {
	seconds := loadSeconds()
	c := newCluster(t, "load-"+kind)
	c.install(t, "nowd", "nowd", "", small...)
	c.handAt(t, c.namespace)
	p := c.pod(t, serverSelector)
	spec, container := hand()
	container["resources"] = object{"limits": object{"cpu": "100m"}, "requests": object{"cpu": "1m"}}
	c.start(t, c.namespace, "load", spec, container, "/hand/hand", "load", kind, p.Status.PodIP, "3333", "200", seconds)
	c.start(t, c.namespace, "flood", spec, container, "/hand/hand", "flood", p.Status.PodIP, "3333", seconds)
	spec, container = hand()
	c.start(t, c.namespace, "probe", spec, container, "/hand/hand", "probe", p.Status.PodIP, "8086", seconds)
	for _, name := range []string{"load", "flood", "probe"} {
		log, status := c.awaitEnd(t, c.namespace, name)
		t.Logf("%s, %s: %s", kind, name, strings.TrimSpace(log))
		if status != 0 {
			t.Errorf("%s: status %d", name, status)
		}
	}
	after := c.podNamed(t, c.namespace, p.Metadata.Name).Status.ContainerStatuses[0]
	if after.RestartCount != 0 {
		t.Errorf("%d restarts, the last end %+v", after.RestartCount, after.LastState.Terminated)
	}
	c.checkLiveness(t)
	c.helm(t, "uninstall", "nowd", "--wait")
}

// checkLiveness checks that no liveness probe has timed out. A refused probe is from before nowd listened: a busy node takes
// seconds to start it.
func (c *cluster) checkLiveness(t *testing.T) {
	t.Helper()
	events := c.kubectl(t, "get", "events", "--field-selector=reason=Unhealthy", "--output=jsonpath={range .items[*]}{.count} {.message}{\"\\n\"}{end}")
	t.Logf("probes of the kubelet that failed: %q", events)
	for event := range strings.Lines(events) {
		if strings.Contains(event, "Liveness") && !strings.Contains(event, "connection refused") {
			t.Errorf("a probe failed for lack of CPU: %s", event)
		}
	}
}

// small gives a Deployment of one pod the CPU limit of a sidecar.
var small = []string{"--set=mode=deployment", "--set=deployment.replicas=1", "--set=resources.limits.cpu=20m"}

// connectionsAndAFlood overloads nowd with 1,000 connections and a flood.
func connectionsAndAFlood(t *testing.T) {
	c := newCluster(t, "load")
	c.install(t, "nowd", "nowd", "", append(small, "--set=settings.NOWD_TCP_MAX_CONNS=1000")...)
	c.handAt(t, c.namespace)
	p := c.pod(t, serverSelector)
	started := p.Status.ContainerStatuses[0].State.Running.StartedAt
	i := slices.IndexFunc(p.Status.Conditions, func(c condition) bool { return c.Type == "Ready" })
	ready := p.Status.Conditions[i].LastTransitionTime.Sub(started)
	t.Logf("ready %v after its start", ready)
	if ready > 30*time.Second { // a second on a quiet node
		t.Errorf("ready %v after its start, want within 30 s", ready)
	}

	// Longer than the liveness probe needs to fail.
	const connections, seconds = "1000", "35"
	spec, container := hand()
	c.start(t, c.namespace, "hold", spec, container, "/hand/hand", "hold", p.Status.PodIP, "3333", connections, seconds)
	c.await(t, "connections", func() error {
		_, err := c.try("sh", "-c", "kubectl logs hold --namespace="+c.namespace+" | grep -x 'held "+connections+"'")
		return err
	})
	container["resources"] = object{"limits": object{"cpu": "200m"}, "requests": object{"cpu": "1m"}}
	c.start(t, c.namespace, "flood", spec, container, "/hand/hand", "flood", p.Status.PodIP, "3333", seconds)

	for _, name := range []string{"flood", "hold"} {
		log, status := c.awaitEnd(t, c.namespace, name)
		t.Logf("%s: %s", name, strings.ReplaceAll(strings.TrimSpace(log), "\n", ", "))
		if status != 0 {
			t.Errorf("%s: status %d: not every connection was answered", name, status)
		}
	}
	after := c.podNamed(t, c.namespace, p.Metadata.Name).Status.ContainerStatuses[0]
	if after.RestartCount != 0 {
		t.Errorf("%d restarts, the last end %+v", after.RestartCount, after.LastState.Terminated)
	}
	c.checkLiveness(t)
	if stats, err := c.try("kubectl", "get", "--raw", "/api/v1/nodes/"+p.Spec.NodeName+"/proxy/stats/summary"); err == nil {
		c.logMemory(t, stats)
	}
	c.helm(t, "uninstall", "nowd", "--wait")
}

// itsOwnApplication asks as fast as it can, over connections and in datagrams. The kubelet's probes run in the sidecar's
// container, and share its CPU limit.
func itsOwnApplication(t *testing.T) {
	c := newCluster(t, "busy")
	c.install(t, "example", "example", "nowd.")
	c.handAt(t, c.namespace)
	spec := c.template(t)
	app := spec["containers"].([]any)[0].(object)
	volumes, mounts := hand()
	// The pod already has the sidecar's volume.
	spec["volumes"] = append(spec["volumes"].([]any), volumes["volumes"].([]object)[0])
	app["volumeMounts"] = mounts["volumeMounts"]
	spec["restartPolicy"] = "Never"
	app["resources"] = object{"limits": object{"cpu": "100m"}}
	app["command"] = []string{"/hand/hand", "load", "read", "127.0.0.1", "3333", "200", loadSeconds()}
	flood := object{}
	maps.Copy(flood, app)
	flood["name"], flood["command"] = "flood", []string{"/hand/hand", "flood", "127.0.0.1", "3333", loadSeconds()}
	spec["containers"] = []any{app, flood}
	c.create(t, c.namespace, object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "busy"}, "spec": spec})
	log, _ := c.awaitEnd(t, c.namespace, "busy", "--container=application")
	t.Log(log)
	if sidecar := c.podNamed(t, c.namespace, "busy").Status.InitContainerStatuses[0]; sidecar.RestartCount != 0 {
		t.Errorf("%d restarts, the last end %+v", sidecar.RestartCount, sidecar.LastState.Terminated)
	}
	events := c.kubectl(t, "get", "events", "--field-selector=reason=Unhealthy,involvedObject.name=busy", "--output=jsonpath={range .items[*]}{.count} {.message}{\"\\n\"}{end}")
	t.Logf("probes of the kubelet that failed: %q", events)
	c.helm(t, "uninstall", "example", "--wait")
}

// logMemory logs the container's memory as the kubelet counts it.
func (c *cluster) logMemory(t *testing.T, stats string) {
	var s struct {
		Pods []struct {
			PodRef     struct{ Name, Namespace string }
			Containers []struct {
				Name   string
				Memory struct{ WorkingSetBytes int64 }
			}
		}
	}
	c.decode(t, stats, &s)
	for _, p := range s.Pods {
		for _, container := range p.Containers {
			if p.PodRef.Namespace == c.namespace && container.Name == "nowd" {
				t.Logf("working set %.1f MiB", float64(container.Memory.WorkingSetBytes)/(1<<20))
			}
		}
	}
}
