//go:build linux

// Package node_test installs the charts in a real cluster, and looks at what the kubelet makes of them.
//
// It needs a cluster whose nodes have the images, and these variables say which:
//
//	NOWD_E2E_KUBECONFIG    the file by which kubectl and helm find the cluster
//	NOWD_E2E_IMAGE         the image's name and tag, such as localhost/nowd:0.1.0
//	NOWD_E2E_LEASE_IMAGE   those of the image of helm/example/lease; without it the tests that need it are skipped
//	NOWD_E2E_FAKE_IMAGE    that of an image whose nowd was built with the tag fakeclock, for the tests with wrong clocks
//
// Without the first all tests are skipped. They need kubectl, helm and a C compiler besides, make namespaces of their own,
// and remove them.
package node_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// patience is how long a test waits for what takes seconds on a quiet machine, or a minute where the kubelet's probes
	// have to fail first.
	patience = 3 * time.Minute
	// interval is the time between two looks at a condition. A look is a kubectl, which takes CPU time from the cluster.
	interval = 500 * time.Millisecond
)

// cluster is a namespace of the test's own, in which no pod is admitted that is not restricted.
type cluster struct {
	namespace  string
	repository string // the image's
	tag        string
	charts     string // a copy: dependencies are packed into a chart's folder
}

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for the cluster, most of the time, and not for this machine's CPUs.
	parallel := flag.Lookup("test.parallel")
	if parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set("8")
	}
	m.Run()
}

var tools sync.Once

// newCluster skips the test where there is no cluster.
func newCluster(t *testing.T, name string) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("takes more than 10 s")
	}
	kubeconfig, image := os.Getenv("NOWD_E2E_KUBECONFIG"), os.Getenv("NOWD_E2E_IMAGE")
	if kubeconfig == "" {
		t.Skip("NOWD_E2E_KUBECONFIG names no cluster")
	}
	tools.Do(func() { os.Setenv("KUBECONFIG", kubeconfig) })
	repository, tag, ok := strings.Cut(image, ":")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		repository, tag = image[:i], image[i+1:]
	}
	if !ok || tag == "" {
		t.Fatalf("NOWD_E2E_IMAGE=%q: want a name and a tag, such as localhost/nowd:0.1.0", image)
	}
	c := &cluster{
		namespace:  fmt.Sprintf("nowd-e2e-%d-%s", os.Getpid(), name),
		repository: repository,
		tag:        tag,
		charts:     filepath.Join(t.TempDir(), "helm"),
	}
	if err := os.CopyFS(c.charts, os.DirFS("../../helm")); err != nil {
		t.Fatal(err)
	}
	c.makeNamespace(t, c.namespace, "restricted")
	return c
}

// makeNamespace makes one with a level of Pod Security, which goes when the test ends.
func (c *cluster) makeNamespace(t *testing.T, name, level string) {
	t.Helper()
	c.run(t, "kubectl", "create", "namespace", name)
	t.Cleanup(func() {
		if t.Failed() {
			c.show(t, name)
		}
		c.run(t, "kubectl", "delete", "namespace", name, "--timeout="+patience.String())
	})
	c.run(t, "kubectl", "label", "namespace", name, "pod-security.kubernetes.io/enforce="+level)
	// Pods are refused until it is there.
	c.await(t, "service account", func() error {
		_, err := c.try("kubectl", "get", "serviceaccount", "default", "--namespace", name)
		return err
	})
}

// show logs what there is in a namespace.
func (c *cluster) show(t *testing.T, namespace string) {
	for _, args := range [][]string{
		{"get", "all", "--output=wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"get", "pods", "--output=jsonpath={range .items[*]}{.metadata.name} {.status.initContainerStatuses} {.status.containerStatuses}{\"\\n\"}{end}"},
		{"logs", "--selector=app.kubernetes.io/name", "--all-containers", "--tail=15", "--prefix"},
	} {
		out, _ := c.try("kubectl", append(args, "--namespace="+namespace)...)
		t.Logf("kubectl %q:\n%s", args, out)
	}
}

// helm runs it in the namespace.
func (c *cluster) helm(t *testing.T, args ...string) string {
	t.Helper()
	return c.run(t, "helm", append(args, "--namespace="+c.namespace)...)
}

// install installs a chart and waits until its pods are ready. parent is where nowd's values are among the chart's.
func (c *cluster) install(t *testing.T, release, chart, parent string, args ...string) {
	t.Helper()
	c.apply(t, "install", release, chart, parent, args...)
}

func (c *cluster) apply(t *testing.T, verb, release, chart, parent string, args ...string) {
	t.Helper()
	c.helm(t, slices.Concat([]string{verb, release, filepath.Join(c.charts, chart), "--dependency-update",
		"--set=" + parent + "image.repository=" + c.repository, "--set=" + parent + "image.tag=" + c.tag,
		"--wait", "--timeout=" + patience.String()}, args)...)
}

// kubectl runs it in the namespace.
func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return c.run(t, "kubectl", c.within(args)...)
}

// within adds the namespace to kubectl's arguments, before those of a command to be executed.
func (c *cluster) within(args []string) []string {
	return slices.Insert(slices.Clone(args), 1, "--namespace="+c.namespace)
}

// run returns what a command writes to its standard output, and ends the test when it fails.
func (c *cluster) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := c.try(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *cluster) try(name string, args ...string) (string, error) {
	return c.tryWith(nil, name, args...)
}

func (c *cluster) tryWith(stdin []byte, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience+time.Minute)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s %q: %w\n%s%s", name, args, err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String(), nil
}

// await waits until f has no error to report.
func (c *cluster) await(t *testing.T, what string, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(interval) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: still so after %v: %v", what, patience, err)
		}
	}
}

// object is a part of a manifest.
type object = map[string]any

// create makes an object.
func (c *cluster) create(t *testing.T, namespace string, o object) {
	t.Helper()
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := c.tryWith(b, "kubectl", "create", "--namespace="+namespace, "--filename=-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// pod is what the tests need of one.
type pod struct {
	Metadata struct {
		Name              string
		UID               string
		DeletionTimestamp *time.Time
	}
	Spec struct {
		NodeName string
	}
	Status struct {
		Phase, PodIP          string
		QOSClass              string
		Conditions            []condition
		InitContainerStatuses []container
		ContainerStatuses     []container
	}
}

type condition struct {
	Type, Status       string
	LastTransitionTime time.Time
}

type container struct {
	Name             string
	Ready            bool
	RestartCount     int
	State, LastState struct {
		Running    *struct{ StartedAt time.Time }
		Terminated *end
	}
}

// end is how a container ended. Its times are in whole seconds.
type end struct {
	ExitCode              int
	Reason, Message       string
	StartedAt, FinishedAt time.Time
}

// pods returns those with a label.
func (c *cluster) pods(t *testing.T, selector string) []pod {
	t.Helper()
	var list struct{ Items []pod }
	c.decode(t, c.kubectl(t, "get", "pods", "--selector="+selector, "--output=json"), &list)
	return list.Items
}

// pod returns the only one with a label.
func (c *cluster) pod(t *testing.T, selector string) pod {
	t.Helper()
	all := slices.DeleteFunc(c.pods(t, selector), func(p pod) bool { return p.Metadata.DeletionTimestamp != nil })
	if len(all) != 1 {
		t.Fatalf("%d pods with %s, want 1", len(all), selector)
	}
	return all[0]
}

func (c *cluster) podNamed(t *testing.T, namespace, name string) (p pod) {
	t.Helper()
	c.decode(t, c.run(t, "kubectl", "get", "pod", name, "--namespace="+namespace, "--output=json"), &p)
	return p
}

func (c *cluster) decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}

// restricted is what the restricted level of Pod Security asks of a container.
func restricted() object {
	return object{
		"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "allowPrivilegeEscalation": false,
		"capabilities":   object{"drop": []string{"ALL"}},
		"seccompProfile": object{"type": "RuntimeDefault"},
	}
}

// start makes a pod of the image with a command, which ends by itself or with the test.
func (c *cluster) start(t *testing.T, namespace, name string, spec, container object, command ...string) {
	t.Helper()
	one := object{"name": name, "image": c.repository + ":" + c.tag, "imagePullPolicy": "IfNotPresent",
		"command": command, "securityContext": restricted()}
	for k, v := range container {
		one[k] = v
	}
	all := object{"containers": []object{one}, "restartPolicy": "Never", "automountServiceAccountToken": false,
		"enableServiceLinks": false, "terminationGracePeriodSeconds": 1}
	for k, v := range spec {
		all[k] = v
	}
	c.create(t, namespace, object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": name}, "spec": all})
}

// awaitEnd waits until a pod's containers have ended, and returns what the first one wrote, or that which logArgs name.
func (c *cluster) awaitEnd(t *testing.T, namespace, name string, logArgs ...string) (log string, status int) {
	t.Helper()
	c.await(t, name, func() error {
		p := c.podNamed(t, namespace, name)
		if p.Status.Phase != "Succeeded" && p.Status.Phase != "Failed" {
			return fmt.Errorf("it is %s", p.Status.Phase)
		}
		status = p.Status.ContainerStatuses[0].State.Terminated.ExitCode
		return nil
	})
	return c.run(t, "kubectl", append([]string{"logs", name, "--namespace=" + namespace}, logArgs...)...), status
}

// handAt builds the hand and puts it into a namespace; hand then gives it to a pod.
func (c *cluster) handAt(t *testing.T, namespace string) {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "hand")
	c.run(t, "cc", "-Os", "-static", "-s", "-o", binary, "testdata/hand.c")
	c.run(t, "kubectl", "create", "configmap", "hand", "--namespace="+namespace, "--from-file=hand="+binary)
}

func hand() (spec, container object) {
	return object{"volumes": []object{{"name": "hand", "configMap": object{"name": "hand", "defaultMode": 0o555}}}},
		object{"volumeMounts": []object{{"name": "hand", "mountPath": "/hand"}}}
}

// checkNothingLeft checks that a release has left nothing in the namespace.
func (c *cluster) checkNothingLeft(t *testing.T) {
	t.Helper()
	kinds := strings.Fields(c.run(t, "kubectl", "api-resources", "--namespaced", "--verbs=list", "--output=name"))
	kinds = slices.DeleteFunc(kinds, func(kind string) bool {
		return strings.HasPrefix(kind, "events") || strings.Contains(kind, "metrics.k8s.io")
	})
	c.await(t, "what is left", func() error {
		left := strings.Fields(c.kubectl(t, "get", strings.Join(kinds, ","), "--output=name", "--ignore-not-found"))
		left = slices.DeleteFunc(left, func(name string) bool {
			return name == "configmap/kube-root-ca.crt" || name == "serviceaccount/default" || name == "configmap/hand"
		})
		if len(left) != 0 {
			return fmt.Errorf("%q", left)
		}
		return nil
	})
}
