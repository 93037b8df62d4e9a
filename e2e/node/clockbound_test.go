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

// grace is the time for which clients may trust a sidecar that does not write: 5 s, and slack for the times of
// containers, which are in whole seconds.
const grace = 7 * time.Second

// TestApplicationKnowsTheTimeWhileItsSidecarIsAway has the example's programs contend for a lease by the clock that the
// sidecar shares with them. The test kills the sidecar until the kubelet waits for longer than grace before it restarts
// it. The programs must work all the time.
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
		t.Fatalf("the pod has no container nowd-wait: %+v", p.Status.InitContainerStatuses)
	}
	if end := p.Status.InitContainerStatuses[i].State.Terminated; end == nil || end.ExitCode != 0 {
		t.Errorf("nowd wait ended as %+v, want with status 0", end)
	}
	// So the application has started with a good clock.
	c.await(t, "lease", func() error { return hasEntry(c.entries(t), time.Time{}, "synchronized") })

	var gone, back time.Time
	for kills := 0; back.Sub(gone) <= grace; kills++ {
		if kills == 5 {
			t.Fatalf("the kubelet restarted it %d times within %v", kills, grace)
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
			t.Errorf("an entry without an error bound: %v", e)
		}
		if e.at.After(gone.Add(grace)) && e.at.Before(back) && e.status != "free running" {
			t.Errorf("%v after the sidecar's end: %v", e.at.Sub(gone), e)
		}
	}
	if after := c.pod(t, exampleSelector); after.Metadata.UID != p.Metadata.UID {
		t.Error("the pod has been replaced")
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

// leaseImage returns the name of the image of the example's program, which the nodes have.
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

// upstream starts an NTP server that serves the node's clock as the true time, because the kernel of a test's node may know no
// error bound. It returns the server's address.
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

// killSidecar kills the example's sidecar from a pod of this name, which sees the node's processes. It returns the
// sidecar's status after its restart.
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
			return fmt.Errorf("the sidecar has not restarted: %+v", sidecar)
		}
		return nil
	})
	return sidecar
}

// entry is the output of a program of the example about one entry of its log.
type entry struct {
	at     time.Time
	status string
	bound  time.Duration
}

func (e entry) String() string { return fmt.Sprintf("at %v, %s, ±%v", e.at, e.status, e.bound) }

var anEntry = regexp.MustCompile(`(?m)^\w+ writes at (\S+); the clock is ([a-z ]+), ±(\S+)$`)

// entries returns the entries of both programs. Neither program may ever have been without a clock.
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

// hasEntry returns an error unless there is an entry after this time with this status.
func hasEntry(entries []entry, after time.Time, status string) error {
	if slices.ContainsFunc(entries, func(e entry) bool { return e.at.After(after) && e.status == status }) {
		return nil
	}
	return fmt.Errorf("none of %d entries is from after %v with a clock that is %s", len(entries), after, status)
}
