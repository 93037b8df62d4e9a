//go:build linux

package node_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const serverSelector = "app.kubernetes.io/instance=nowd,app.kubernetes.io/component=server"

// TestRollingUpdateLeavesNoQueryWithoutAnAnswer has clients ask while an upgrade and a rollback replace the pods.
func TestRollingUpdateLeavesNoQueryWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "rolling")
	c.install(t, "nowd", "nowd", "", "--set=mode=deployment")
	clients := []string{"udp", "tcp"}
	for _, proto := range clients {
		c.start(t, c.namespace, "client-"+proto, nil, nil,
			"/nowd", "query", "-proto", proto, "-n", "0", "-i", "20ms", "-timeout", "3s", "nowd-"+proto+":3333")
	}
	c.await(t, "clients", func() error {
		for _, proto := range clients {
			if _, err := c.try("kubectl", "wait", "pod/client-"+proto, "--namespace="+c.namespace, "--for=condition=ready", "--timeout=1s"); err != nil {
				return err
			}
		}
		return nil
	})
	first := c.pods(t, serverSelector)

	c.apply(t, "upgrade", "nowd", "nowd", "", "--set=mode=deployment", "--set=timeZone=Asia/Tokyo")
	c.awaitReplaced(t, first)
	second := c.pods(t, serverSelector)
	if out := c.ask(t); !strings.Contains(out, "+09:00") {
		t.Errorf("after the upgrade the answer is %q, want Tokyo's time", out)
	}
	c.helm(t, "rollback", "nowd", "1", "--wait", "--timeout="+patience.String())
	c.awaitReplaced(t, second)
	if out := c.ask(t); strings.Contains(out, "+09:00") {
		t.Errorf("after the rollback the answer is %q, want UTC", out)
	}

	for _, proto := range clients {
		lines := strings.Split(strings.TrimSpace(c.kubectl(t, "logs", "client-"+proto)), "\n")
		answers, failures, failed := 0, 0, false
		for _, line := range lines {
			switch {
			case isAnswer(line):
				answers++
				failed = false
			case isFailure(line) && answers > 0: // the first request may come before the Service works
				failures++
				t.Logf("%s: %s", proto, line)
				if failed {
					t.Errorf("over %s two queries in a row got no answer: %s", proto, line)
				}
				failed = true
			}
		}
		t.Logf("%s: %d answers, %d queries without an answer", proto, answers, failures)
		if answers < 500 {
			t.Errorf("%d answers over %s: too few queries while pods were replaced", answers, proto)
		}
		c.kubectl(t, "delete", "pod", "client-"+proto)
	}
	c.helm(t, "uninstall", "nowd", "--wait")
	c.checkNothingLeft(t)
}

// ask asks a pod for its local time.
func (c *cluster) ask(t *testing.T) string {
	t.Helper()
	return c.kubectl(t, "exec", "deployment/nowd", "--", "/nowd", "query", "-timeout", "5s", "-proto", "tcp", "-ask", "rfc3339", "nowd-tcp:3333")
}

// awaitReplaced waits until the old pods are removed.
func (c *cluster) awaitReplaced(t *testing.T, old []pod) {
	t.Helper()
	args := []string{"wait", "--for=delete", "--timeout=" + patience.String()}
	for _, p := range old {
		args = append(args, "pod/"+p.Metadata.Name)
	}
	c.kubectl(t, args...)
}

// TestInstalledAsItsNotesSay installs each mode with all options that need no operator, and runs every command of the notes as
// printed, the test of the release among them.
func TestInstalledAsItsNotesSay(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "notes")
	for _, args := range [][]string{
		{"--set=mode=deployment", "--set=deployment.autoscaling.enabled=true", "--set=deployment.podDisruptionBudget=true",
			"--set=deployment.topologySpread=true", "--set=networkPolicy.enabled=true", "--set=service.combined=true",
			"--set=monitoring.dashboard=true"},
		{"--set=mode=daemonset", "--set=networkPolicy.enabled=true", "--set=ports.daytime=13", "--set=ports.time=37", "--set=ports.ntp=123",
			"--set=priorityClassName=system-node-critical", "--set=commonLabels.team=time", "--set=podAnnotations.note=one"},
	} {
		t.Run(strings.TrimPrefix(args[0], "--set=mode="), func(t *testing.T) {
			rendered := c.helm(t, slices.Concat([]string{"template", "nowd", filepath.Join(c.charts, "nowd")}, args)...)
			if _, err := c.tryWith([]byte(rendered), "kubectl", "apply", "--namespace="+c.namespace, "--dry-run=server", "--validate=strict", "--filename=-"); err != nil {
				t.Error(err)
			}
			c.install(t, "nowd", "nowd", "", args...)
			commands := 0
			for line := range strings.Lines(c.helm(t, "get", "notes", "nowd")) {
				command := strings.TrimSpace(line)
				if !strings.HasPrefix(line, "  ") || !strings.HasPrefix(command, "kubectl ") && !strings.HasPrefix(command, "helm ") {
					continue
				}
				commands++
				if strings.HasPrefix(command, "helm test") {
					command += " --logs"
				}
				out, err := exec.Command("sh", "-c", command).CombinedOutput()
				if err != nil {
					t.Errorf("%s: %v\n%s", command, err, out)
				} else if (strings.Contains(command, " query ") || strings.HasSuffix(command, " --logs")) && !strings.Contains(string(out), "  round trip ") {
					t.Errorf("%s: %s", command, out)
				}
			}
			if commands < 4 {
				t.Errorf("the notes have %d commands", commands)
			}
			c.helm(t, "uninstall", "nowd", "--wait")
			c.checkNothingLeft(t)
		})
	}
}

// TestWhatAFailedTestLeavesGoesWithTheRelease runs the test of a release without pods. It fails, and its pods are
// removed with the release.
func TestWhatAFailedTestLeavesGoesWithTheRelease(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "failed")
	c.helm(t, "install", "nowd", filepath.Join(c.charts, "nowd"), "--set=mode=deployment", "--set=deployment.replicas=0",
		"--set=image.repository="+c.repository, "--set=image.tag="+c.tag)
	if out, err := c.try("helm", "test", "nowd", "--namespace="+c.namespace); err == nil {
		t.Fatalf("helm test passes without a pod: %s", out)
	}
	if left := c.kubectl(t, "get", "pods", "--output=name"); !strings.Contains(left, "pod/nowd-test-") {
		t.Errorf("helm test leaves no pod with a log, but %q", left)
	}
	c.helm(t, "uninstall", "nowd", "--wait")
	c.checkNothingLeft(t)
}

// TestPortsOfTheNode asks NTP at the node's own address, with hostPorts and with hostNetwork, and the Services' node ports.
func TestPortsOfTheNode(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "ports")
	host := c.namespace + "-host" // where pods may use the node's ports and network
	c.makeNamespace(t, host, "privileged")
	restricted := c.namespace
	c.namespace = host
	for _, args := range [][]string{{"--set=daemonset.hostPorts=true"}, {"--set=daemonset.hostNetwork=true"}} {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(args[0], "--set=daemonset."), "=true"), func(t *testing.T) {
			// Ports that no other test takes.
			own := []string{"--set=mode=daemonset", "--set=ports.udp=3334", "--set=ports.tcp=3334", "--set=ports.ntp=124", "--set=ports.health=8087"}
			c.install(t, "nowd", "nowd", "", append(args, own...)...)
			// With maxUnavailable 1 Helm does not wait for the DaemonSet's only pod.
			c.kubectl(t, "rollout", "status", "daemonset/nowd", "--timeout="+patience.String())
			out := c.kubectl(t, "exec", "daemonset/nowd", "--", "/nowd", "query", "-timeout", "5s", "-proto", "ntp", c.nodeAddress(t)+":124")
			if !isAnswer(out) {
				t.Errorf("NTP at the node's address: %q", out)
			}
			// Two pods cannot have the same port of the node: the old one ends before the new one starts.
			c.apply(t, "upgrade", "nowd", "nowd", "", append(args, append(own, "--set=timeZone=Asia/Tokyo")...)...)
			c.kubectl(t, "rollout", "status", "daemonset/nowd", "--timeout="+patience.String())
			c.helm(t, "uninstall", "nowd", "--wait")
		})
	}
	c.namespace = restricted
	c.install(t, "nowd", "nowd", "", "--set=mode=deployment", "--set=service.type=NodePort")
	for _, proto := range []string{"udp", "tcp"} {
		port := c.kubectl(t, "get", "service", "nowd-"+proto, "--output=jsonpath={.spec.ports[0].nodePort}")
		name := "outside-" + proto
		// From the node's own network, in place of a client outside the cluster.
		c.start(t, host, name, object{"hostNetwork": true}, nil, "/nowd", "query", "-proto", proto, "-n", "5", c.nodeAddress(t)+":"+port)
		if out, status := c.awaitEnd(t, host, name); status != 0 {
			t.Errorf("port %s of the node over %s: %s", port, proto, out)
		}
	}
	c.helm(t, "uninstall", "nowd", "--wait")
	c.checkNothingLeft(t)
}

// nodeAddress returns the address of the first node.
func (c *cluster) nodeAddress(t *testing.T) string {
	t.Helper()
	return c.run(t, "kubectl", "get", "nodes", "--output=jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}")
}
