//go:build linux

package node_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const exampleSelector = "app.kubernetes.io/instance=example"

// TestSidecarServesItsApplication tests the example chart from its installation to its removal.
func TestSidecarServesItsApplication(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "sidecar")
	c.install(t, "example", "example", "nowd.", "--set=interval=100ms")

	t.Run("StartsBeforeTheApplication", func(t *testing.T) {
		p := c.pod(t, exampleSelector)
		sidecar, app := p.Status.InitContainerStatuses[0], p.Status.ContainerStatuses[0]
		if sidecar.State.Running == nil || app.State.Running == nil {
			t.Fatalf("not running: %+v, %+v", sidecar, app)
		}
		if s, a := sidecar.State.Running.StartedAt, app.State.Running.StartedAt; s.After(a) {
			t.Errorf("the sidecar started at %v, after the application at %v", s, a)
		}
		if sidecar.RestartCount != 0 || app.RestartCount != 0 {
			t.Errorf("restarts: %d of the sidecar, %d of the application, want none", sidecar.RestartCount, app.RestartCount)
		}
		if p.Status.QOSClass != "Guaranteed" {
			t.Errorf("the pod's class is %s, want Guaranteed, as without the sidecar", p.Status.QOSClass)
		}
	})

	t.Run("AnswersOverUDPAndTCP", func(t *testing.T) {
		for _, proto := range []string{"udp", "tcp"} {
			out := c.kubectl(t, "exec", "deployment/example", "--container=application", "--",
				"/nowd", "query", "-timeout", "5s", "-proto", proto, "127.0.0.1:3333")
			if !isAnswer(out) {
				t.Errorf("over %s: %q", proto, out)
			}
		}
		c.await(t, "the application", func() error {
			return c.hasAnswer("deployment/example")
		})
	})

	t.Run("IsReachedByItsPodAlone", func(t *testing.T) {
		p := c.pod(t, exampleSelector)
		c.start(t, c.namespace, "stranger", nil, nil, "/nowd", "query", "-proto", "tcp", p.Status.PodIP+":3333")
		if out, status := c.awaitEnd(t, c.namespace, "stranger"); status == 0 {
			t.Errorf("another pod is answered: %s", out)
		}
		c.kubectl(t, "delete", "pod", "stranger")
	})

	t.Run("OrByWhoeverReachesThePod", func(t *testing.T) {
		c.apply(t, "upgrade", "example", "example", "nowd.", "--set=interval=100ms", "--set=nowd.sidecar.listen=pod", "--set=nowd.sidecar.probes.readiness=true")
		c.kubectl(t, "rollout", "status", "deployment/example", "--timeout="+patience.String())
		p := c.pod(t, exampleSelector)
		c.start(t, c.namespace, "stranger", nil, nil, "/nowd", "query", "-proto", "tcp", p.Status.PodIP+":3333")
		if out, status := c.awaitEnd(t, c.namespace, "stranger"); status != 0 {
			t.Errorf("another pod is not answered: %s", out)
		}
		c.kubectl(t, "delete", "pod", "stranger")
	})

	t.Run("WithAStartupProbeIsThereBeforeTheFirstQuestion", func(t *testing.T) {
		c.apply(t, "upgrade", "example", "example", "nowd.", "--set=interval=100ms", "--set=nowd.sidecar.probes.startup=true")
		c.await(t, "the application", func() error {
			p := c.pod(t, exampleSelector)
			out := c.kubectl(t, "logs", p.Metadata.Name, "--container=application")
			if out == "" {
				return fmt.Errorf("the application prints nothing")
			}
			if first, _, _ := strings.Cut(out, "\n"); !isAnswer(first) {
				t.Fatalf("the application's first line is %q", first)
			}
			return nil
		})
	})

	t.Run("IsRestartedAloneWhenItHangs", func(t *testing.T) {
		// In this namespace a pod may see the node's processes, and stop nowd.
		namespace := c.namespace + "-host"
		c.makeNamespace(t, namespace, "privileged")
		c.handAt(t, namespace)
		spec, container := hand()
		spec["hostPID"] = true
		before := c.pod(t, exampleSelector)
		spec["nodeName"] = before.Spec.NodeName
		stopped := time.Now()
		c.start(t, namespace, "stop", spec, container, "/hand/hand", "stop", before.Metadata.Name)
		if out, status := c.awaitEnd(t, namespace, "stop"); status != 0 {
			t.Fatalf("status %d: %s", status, out)
		}
		c.await(t, "restart", func() error {
			p := c.pod(t, exampleSelector)
			if n := p.Status.InitContainerStatuses[0].RestartCount; n == 0 {
				return fmt.Errorf("the sidecar is not restarted")
			}
			return nil
		})
		t.Logf("restarted %v after it was stopped", time.Since(stopped).Round(time.Second))
		// With a query of its own, beside the application's.
		c.await(t, "answer", func() error {
			_, err := c.try("kubectl", c.within([]string{"exec", "deployment/example", "--container=application", "--",
				"/nowd", "query", "-timeout", "5s", "127.0.0.1:3333"})...)
			return err
		})
		p := c.pod(t, exampleSelector)
		if p.Metadata.UID != before.Metadata.UID {
			t.Error("the pod has been replaced")
		}
		sidecar, app := p.Status.InitContainerStatuses[0], p.Status.ContainerStatuses[0]
		if sidecar.RestartCount != 1 || app.RestartCount != 0 {
			t.Errorf("restarts: %d of the sidecar, %d of the application, want 1 and 0", sidecar.RestartCount, app.RestartCount)
		}
		if last := sidecar.LastState.Terminated; last == nil || last.ExitCode != 137 {
			t.Errorf("the sidecar ended as %+v, want by SIGKILL (137), as it was stopped", last)
		}
	})

	t.Run("EndsAfterTheApplicationWithStatus0", func(t *testing.T) {
		const linger = 3 * time.Second
		spec := c.template(t, "-timeout", "5s", "-n", "0", "-i", "100ms", "127.0.0.1:3333")
		// The application takes a while to end, and asks meanwhile.
		app := spec["containers"].([]any)[0].(object)
		app["lifecycle"] = object{"preStop": object{"sleep": object{"seconds": int(linger.Seconds())}}}
		c.create(t, c.namespace, object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "ends"}, "spec": spec})
		c.await(t, "answers", func() error {
			return c.hasAnswer("ends")
		})

		log := exec.Command("kubectl", "logs", "ends", "--namespace="+c.namespace, "--container=application", "--follow", "--tail=1")
		said, err := log.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := log.Start(); err != nil {
			t.Fatal(err)
		}
		lines := make(chan []string)
		go func() {
			var all []string
			for s := bufio.NewScanner(said); s.Scan(); {
				all = append(all, s.Text())
			}
			_ = log.Wait()
			lines <- all
		}()
		watch := exec.Command("kubectl", "get", "pod", "ends", "--namespace="+c.namespace, "--output=json", "--watch", "--output-watch-events")
		events, err := watch.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := watch.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = watch.Process.Kill()
			_ = watch.Wait()
		}()
		began := time.Now()
		c.kubectl(t, "delete", "pod", "ends", "--wait=false")
		var last pod
		for d := json.NewDecoder(events); ; {
			var event struct {
				Type   string
				Object pod
			}
			if err := d.Decode(&event); err != nil {
				t.Fatal(err)
			}
			last = event.Object
			if event.Type == "DELETED" {
				break
			}
		}
		took := time.Since(began)
		t.Logf("gone after %v", took.Round(100*time.Millisecond))
		sidecar, application := last.Status.InitContainerStatuses[0].State.Terminated, last.Status.ContainerStatuses[0].State.Terminated
		if sidecar == nil || application == nil {
			t.Fatalf("the pod's last status: %+v", last.Status)
		}
		if sidecar.ExitCode != 0 || application.ExitCode != 0 {
			t.Errorf("exit status %d of the sidecar, %d of the application, want 0 and 0", sidecar.ExitCode, application.ExitCode)
		}
		if sidecar.FinishedAt.Before(application.FinishedAt) {
			t.Errorf("the sidecar ended at %v, before the application at %v", sidecar.FinishedAt, application.FinishedAt)
		}
		// The kubelet kills a sidecar that does not end within the pod's grace period, 30 s.
		if after := sidecar.FinishedAt.Sub(application.FinishedAt); after > 15*time.Second {
			t.Errorf("the sidecar ended %v after the application, want before it is killed", after)
		}
		if took < linger {
			t.Errorf("the pod ended within %v, before the application could ask on", took)
		}
		// The sidecar answered until the end.
		answers := 0
		for _, line := range <-lines {
			switch {
			case isFailure(line):
				t.Errorf("while the pod ended, a query failed: %q", line)
			case isAnswer(line):
				answers++
			}
		}
		if want := int(linger/(100*time.Millisecond)) / 5; answers < want {
			t.Errorf("%d answers in the application's last %v, want at least %d", answers, linger, want)
		}
	})

	t.Run("LetsAJobComplete", func(t *testing.T) {
		spec := c.template(t, "-timeout", "5s", "-n", "3", "-i", "100ms", "127.0.0.1:3333")
		spec["restartPolicy"] = "Never"
		c.create(t, c.namespace, object{"apiVersion": "batch/v1", "kind": "Job", "metadata": object{"name": "job"},
			"spec": object{"backoffLimit": 0, "template": object{"spec": spec}}})
		c.kubectl(t, "wait", "job/job", "--for=condition=complete", "--timeout="+patience.String())
		if out := c.kubectl(t, "logs", "job/job", "--container=application"); strings.Count(out, anAnswer) != 3 {
			t.Errorf("the job's application got %q, want 3 answers", out)
		}
		p := c.pod(t, "job-name=job")
		if end := p.Status.InitContainerStatuses[0].State.Terminated; end == nil || end.ExitCode != 0 {
			t.Errorf("the sidecar ended as %+v, want with status 0", end)
		}
		c.kubectl(t, "delete", "job", "job")
	})

	t.Run("LeavesNothing", func(t *testing.T) {
		c.helm(t, "uninstall", "example", "--wait")
		c.checkNothingLeft(t)
	})
}

// TestApplicationStartsOnlyWithAGoodClock uses a clock that is never trusted. The sidecar waits for more than a minute,
// and logs why; the kubelet neither restarts it nor starts the application.
func TestApplicationStartsOnlyWithAGoodClock(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "clock")
	began := time.Now()
	c.helm(t, "install", "example", filepath.Join(c.charts, "example"), "--dependency-update",
		"--set=nowd.image.repository="+c.repository, "--set=nowd.image.tag="+c.tag, "--set=nowd.sidecar.probes.startup=true",
		"--set=nowd.settings.NOWD_REQUIRE_SYNC=true", "--set=nowd.settings.NOWD_CLOCK_ERROR_FLOOR=1h")
	c.await(t, "log", func() error {
		log, err := c.try("kubectl", "logs", "deployment/example", "--namespace="+c.namespace, "--container=nowd")
		if err == nil && !strings.Contains(log, `msg="/ready fails" reason="clock: `) {
			err = fmt.Errorf("nowd has logged only %q", log)
		}
		return err
	})
	for time.Since(began) < 75*time.Second {
		time.Sleep(interval)
	}
	p := c.pod(t, exampleSelector)
	sidecar, app := p.Status.InitContainerStatuses[0], p.Status.ContainerStatuses[0]
	if sidecar.RestartCount != 0 || sidecar.State.Running == nil || app.State.Running != nil {
		t.Errorf("after %v: sidecar %+v, application %+v", time.Since(began).Round(time.Second), sidecar, app)
	}
	c.helm(t, "uninstall", "example", "--wait")
	c.checkNothingLeft(t)
}

// template returns the spec of the example's pods, with these arguments for the application's query.
func (c *cluster) template(t *testing.T, args ...string) object {
	t.Helper()
	var deployment struct {
		Spec struct{ Template struct{ Spec object } }
	}
	c.decode(t, c.kubectl(t, "get", "deployment", "example", "--output=json"), &deployment)
	spec := deployment.Spec.Template.Spec
	app := spec["containers"].([]any)[0].(object)
	app["command"] = append([]string{"/nowd", "query"}, args...)
	return spec
}

// hasAnswer returns an error until an application has got an answer.
func (c *cluster) hasAnswer(pod string) error {
	out, err := c.try("kubectl", "logs", pod, "--namespace="+c.namespace, "--container=application")
	if err == nil && !strings.Contains(out, anAnswer) {
		err = fmt.Errorf("the application prints %q", out)
	}
	return err
}

// anAnswer is a part of the line that nowd query prints for an answer, and not of its summary.
const anAnswer = "  round trip "

func isAnswer(line string) bool { return strings.Contains(line, anAnswer) && !isFailure(line) }

// isFailure reports whether a line is nowd query's error for a request without an answer.
func isFailure(line string) bool { return strings.HasPrefix(line, "nowd query:") }
