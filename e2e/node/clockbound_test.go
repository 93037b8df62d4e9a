//go:build linux

package node_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// grace is how long clients believe a sidecar that does not write: for longer than 5 s, and the times of a container's
// end are in whole seconds.
const grace = 7 * time.Second

// TestApplicationKnowsTheTimeWhileItsSidecarIsAway has the example's programs contend for a lease, by the clock that the
// sidecar shares with them. It is killed, again and again, until the kubelet leaves it away for longer than its clients
// believe it. They go on all the while.
func TestApplicationKnowsTheTimeWhileItsSidecarIsAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "clockbound")
	image := leaseImage(t)
	host := c.namespace + "-host"
	c.makeNamespace(t, host, "privileged")
	c.handAt(t, host)
	c.install(t, "example", "example", "nowd.", "--set=lease.image="+image, "--set=wait=true",
		"--set=nowd.settings.NOWD_UPSTREAM="+c.upstream(t, host), "--set=nowd.settings.NOWD_UPSTREAM_INTERVAL=10s")
	p := c.pod(t, exampleSelector)

	i := slices.IndexFunc(p.Status.InitContainerStatuses, func(s container) bool { return s.Name == "nowd-wait" })
	if i < 0 {
		t.Fatalf("nobody waits for a good clock: %+v", p.Status.InitContainerStatuses)
	}
	if end := p.Status.InitContainerStatuses[i].State.Terminated; end == nil || end.ExitCode != 0 {
		t.Errorf("nowd wait ended as %+v, want with status 0", end)
	}
	// The application started with a good clock, then.
	c.await(t, "lease", func() error { return hasEntry(c.entries(t), time.Time{}, "synchronized") })

	var gone, back time.Time
	for kills := 0; back.Sub(gone) <= grace; kills++ {
		if kills == 5 {
			t.Fatalf("%d times the kubelet started it again within %v", kills, grace)
		}
		sidecar := c.killSidecar(t, host, fmt.Sprint("kill-", kills))
		gone, back = sidecar.LastState.Terminated.FinishedAt, sidecar.State.Running.StartedAt
		t.Logf("away from %v for %v", gone, back.Sub(gone))
	}
	c.await(t, "status", func() error { return hasEntry(c.entries(t), back, "synchronized") })

	entries := c.entries(t)
	t.Logf("%d entries, the last %v", len(entries), entries[len(entries)-1])
	if err := hasEntry(entries, gone, "free running"); err != nil {
		t.Errorf("while the sidecar was away: %v", err)
	}
	for _, e := range entries {
		if e.status != "synchronized" && e.status != "free running" || e.bound <= 0 {
			t.Errorf("an entry with a clock that nobody bounds: %v", e)
		}
		if e.at.After(gone.Add(grace)) && e.at.Before(back) && e.status != "free running" {
			t.Errorf("%v after the sidecar's end: %v", e.at.Sub(gone), e)
		}
	}
	if after := c.pod(t, exampleSelector); after.Metadata.UID != p.Metadata.UID {
		t.Error("the pod is another")
	} else {
		for _, s := range after.Status.ContainerStatuses {
			if s.RestartCount != 0 {
				t.Errorf("%d restarts of %s", s.RestartCount, s.Name)
			}
		}
	}
	c.helm(t, "uninstall", "example", "--wait")
	c.checkNothingLeft(t)
}

// leaseImage returns the image of the example's program, which the cluster's nodes have.
func leaseImage(t *testing.T) string {
	t.Helper()
	image := os.Getenv("NOWD_E2E_LEASE_IMAGE")
	if image == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("NOWD_E2E_LEASE_IMAGE names no image")
		}
		t.Skip("NOWD_E2E_LEASE_IMAGE names no image")
	}
	return image
}

// upstream starts an NTP server, which takes the node's clock for the true time: what the node's kernel says of it is
// unknown to the tests. It returns its address.
func (c *cluster) upstream(t *testing.T, namespace string) string {
	t.Helper()
	spec, container := hand()
	c.start(t, namespace, "upstream", spec, container, "/hand/hand", "ntp", "10123")
	var ip string
	c.await(t, "upstream", func() error {
		if ip = c.podNamed(t, namespace, "upstream").Status.PodIP; ip == "" {
			return errors.New("it has no address")
		}
		return nil
	})
	return ip + ":10123"
}

// killSidecar kills the example's sidecar, by a pod of that name which may see the processes of the node, and returns it
// when it is back.
func (c *cluster) killSidecar(t *testing.T, namespace, name string) (sidecar container) {
	t.Helper()
	before := c.pod(t, exampleSelector)
	spec, container := hand()
	spec["hostPID"], spec["nodeName"] = true, before.Spec.NodeName
	c.start(t, namespace, name, spec, container, "/hand/hand", "kill", before.Metadata.Name)
	if out, status := c.awaitEnd(t, namespace, name); status != 0 {
		t.Fatalf("status %d: %s", status, out)
	}
	c.await(t, "restart", func() error {
		sidecar = c.pod(t, exampleSelector).Status.InitContainerStatuses[0]
		if sidecar.RestartCount == before.Status.InitContainerStatuses[0].RestartCount || sidecar.State.Running == nil || sidecar.LastState.Terminated == nil {
			return fmt.Errorf("it is not back: %+v", sidecar)
		}
		return nil
	})
	return sidecar
}

// entry is what a program of the example says of one that it wrote.
type entry struct {
	at     time.Time
	status string
	bound  time.Duration
}

func (e entry) String() string { return fmt.Sprintf("at %v, %s, ±%v", e.at, e.status, e.bound) }

var anEntry = regexp.MustCompile(`(?m)^\w+ writes at (\S+); the clock is ([a-z ]+), ±(\S+)$`)

// entries returns those of both programs. Neither may ever have been without a clock.
func (c *cluster) entries(t *testing.T) (all []entry) {
	t.Helper()
	for _, program := range []string{"first", "second"} {
		log := c.kubectl(t, "logs", "deployment/example", "--container=lease-"+program)
		if strings.Contains(log, "no time:") || strings.Contains(log, "no clock yet:") {
			t.Fatalf("the %s has been without a clock:\n%s", program, log)
		}
		for _, m := range anEntry.FindAllStringSubmatch(log, -1) {
			at, err := time.Parse(time.RFC3339Nano, m[1])
			if err != nil {
				t.Fatal(err)
			}
			bound, err := time.ParseDuration(m[3])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, entry{at, m[2], bound})
		}
	}
	return all
}

// hasEntry has no error to report if there is an entry of that status, from after a time.
func hasEntry(entries []entry, after time.Time, status string) error {
	if slices.ContainsFunc(entries, func(e entry) bool { return e.at.After(after) && e.status == status }) {
		return nil
	}
	return fmt.Errorf("none of %d entries is from after %v with a clock that is %s", len(entries), after, status)
}
