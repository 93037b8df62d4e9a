//go:build linux

package node_test

import (
	"os"
	"strings"
	"testing"
)

// TestSizes measures the table of sizes in docs/kubernetes.md, for this machine. It checks no figures. It takes three
// minutes, so it runs only with NOWD_E2E_SIZES=1.
func TestSizes(t *testing.T) {
	if os.Getenv("NOWD_E2E_SIZES") == "" {
		t.Skip("measures for three minutes: set NOWD_E2E_SIZES=1")
	}
	const seconds = "10"
	for _, cpu := range []string{"20m", "100m", "500m"} {
		t.Run(cpu, func(t *testing.T) {
			c := newCluster(t, "sizes")
			c.install(t, "nowd", "nowd", "", "--set=mode=deployment", "--set=deployment.replicas=1", "--set=resources.limits.cpu="+cpu,
				"--set=settings.NOWD_RATE_LIMIT=off")
			c.handAt(t, c.namespace)
			p := c.pod(t, serverSelector)
			for _, load := range []struct{ name, proto, clients, each string }{
				{"idle", "", "", ""},
				{"udp, one client", "udp", "1", "1"},
				{"udp, 64 clients", "udp", "64", "1"},
				{"tcp, 64 clients", "tcp", "64", "1"},
				{"tcp, 64 clients, 16 at a time", "tcp", "64", "16"},
				{"tcp, 1000 clients", "tcp", "1000", "1"},
			} {
				name := "ask-" + load.proto + "-" + load.clients + "-" + load.each
				if load.proto != "" {
					spec, container := hand()
					c.start(t, c.namespace, name, spec, container, "/hand/hand", "ask", load.proto, p.Status.PodIP, "3333", load.clients, load.each, seconds)
					log, status := c.awaitEnd(t, c.namespace, name)
					t.Logf("%s at %s: %s", load.name, cpu, strings.TrimSpace(log))
					if status != 0 {
						t.Errorf("status %d", status)
					}
				}
				if stats, err := c.try("kubectl", "get", "--raw", "/api/v1/nodes/"+p.Spec.NodeName+"/proxy/stats/summary"); err == nil {
					c.logMemory(t, stats)
				}
			}
			if n := c.podNamed(t, c.namespace, p.Metadata.Name).Status.ContainerStatuses[0].RestartCount; n != 0 {
				t.Errorf("%d restarts", n)
			}
			c.helm(t, "uninstall", "nowd", "--wait")
		})
	}
}
