//go:build linux

// Package node_test installs the charts in a real cluster, and checks their pods and Services.
//
// It needs a cluster whose nodes have the images. These variables name them:
//
//	NOWD_E2E_KUBECONFIG    the kubeconfig of the cluster; without it all tests are skipped
//	NOWD_E2E_IMAGE         name and tag of nowd's image, such as localhost/nowd:0.1.0
//	NOWD_E2E_LEASE_IMAGE   name and tag of the image of helm/example/lease; without it the tests that need it are skipped
//	NOWD_E2E_FAKE_IMAGE    name and tag of an image whose nowd is built with the tag fakeclock; without it the test with wrong
//	                       clocks is skipped
//
// The tests also need kubectl, helm and a C compiler. They make namespaces of their own, and remove them.
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
	// patience is the time limit for what takes seconds on a quiet machine, or a minute if the kubelet's probes must fail
	// first.
	patience = 3 * time.Minute
	// interval is the time between two checks of a condition. A check runs kubectl, which takes CPU time from the cluster.
	interval = 500 * time.Millisecond
)

// cluster is a namespace of the test, which admits only pods of the level "restricted".
type cluster struct {
	namespace  string
	repository string // the name of nowd's image
	tag        string
	charts     string // a copy: dependencies are packed into a chart's folder
}

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests mostly wait for the cluster, not for this machine's CPUs.
	parallel := flag.Lookup("test.parallel")
	if parallel.Value.String() == parallel.DefValue {
		_ = parallel.Value.Set("8")
	}
	m.Run()
}

var tools sync.Once

// newCluster makes a namespace for a test. Without a cluster it skips the test.
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

// makeNamespace makes a namespace with this level of Pod Security. It is removed when the test ends.
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
	// The cluster refuses pods until the service account exists.
	c.await(t, "service account", func() error {
		_, err := c.try("kubectl", "get", "serviceaccount", "default", "--namespace", name)
		return err
	})
}

// show logs the objects of a namespace.
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

// install installs a chart and waits until its pods are ready. parent is the prefix of nowd's values in the chart's.
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

// within adds the namespace to kubectl's arguments, before those of a command to execute.
func (c *cluster) within(args []string) []string {
	return slices.Insert(slices.Clone(args), 1, "--namespace="+c.namespace)
}

// run returns a command's standard output. If the command fails, the test fails.
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

// await waits until f returns no error.
func (c *cluster) await(t *testing.T, what string, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(interval) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: after %v: %v", what, patience, err)
		}
	}
}

// object is a part of a manifest.
type object = map[string]any

// create creates an object.
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

// pod has the fields of a pod that the tests use.
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

// end describes the end of a container. Its times are in whole seconds.
type end struct {
	ExitCode              int
	Reason, Message       string
	StartedAt, FinishedAt time.Time
}

// pods returns the pods that a selector selects.
func (c *cluster) pods(t *testing.T, selector string) []pod {
	t.Helper()
	var list struct{ Items []pod }
	c.decode(t, c.kubectl(t, "get", "pods", "--selector="+selector, "--output=json"), &list)
	return list.Items
}

// pod returns the only pod that a selector selects.
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

// restricted returns the security context that the level "restricted" of Pod Security requires.
func restricted() object {
	return object{
		"runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "allowPrivilegeEscalation": false,
		"capabilities":   object{"drop": []string{"ALL"}},
		"seccompProfile": object{"type": "RuntimeDefault"},
	}
}

// start creates a pod of nowd's image with a command. The pod ends by itself or with the test.
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

// awaitEnd waits until a pod's containers have ended. It returns the exit status of the first one, and its log, or the
// log that logArgs choose.
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

// handAt builds the hand, testdata/hand.c, and stores it in a namespace. hand mounts it in a pod.
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
