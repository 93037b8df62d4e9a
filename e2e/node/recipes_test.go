//go:build linux

package node_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// shell runs a document's commands as printed, in a copy of the files that they use, with a kubeconfig of its own, in
// which they may choose a namespace.
type shell struct {
	folder, kubeconfig string
}

func (c *cluster) newShell(t *testing.T) *shell {
	t.Helper()
	// The commands do not name the image, so it is the chart's default.
	chart := c.run(t, "helm", "template", "nowd", filepath.Join(c.charts, "nowd"), "--set=mode=deployment")
	if image := c.repository + ":" + c.tag; !strings.Contains(chart, fmt.Sprintf("image: %q", image)) {
		what := fmt.Sprintf("NOWD_E2E_IMAGE is %s, which is not the image that the documents build", image)
		if os.Getenv("CI") == "true" {
			t.Fatal(what)
		}
		t.Skip(what)
	}
	s := &shell{folder: filepath.Dir(c.charts), kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	if err := os.CopyFS(filepath.Join(s.folder, "deploy"), os.DirFS("../../deploy")); err != nil {
		t.Fatal(err)
	}
	text := c.run(t, "kubectl", "config", "view", "--raw", "--minify", "--flatten")
	if err := os.WriteFile(s.kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs commands up to the first failure, and returns their output.
func (s *shell) run(commands string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", commands)
	cmd.Dir = s.folder
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.kubeconfig)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestCommandsOfTheRecipesWorkAsPrinted runs docs/kubernetes.md from its first command to its last, as a new user
// would. It skips the commands that build images and load them into kind: the nodes have them.
func TestCommandsOfTheRecipesWorkAsPrinted(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "recipes")
	s := c.newShell(t)
	document, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	if image := leaseImage(t); !strings.Contains(string(document), "docker build -t "+image+" ") {
		t.Fatalf("NOWD_E2E_LEASE_IMAGE is %s, which is not the image that the document builds", image)
	}
	elsewhere := regexp.MustCompile(`(?m)^(docker|kind) .*\n`)
	blocks := regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(document), -1)
	if len(blocks) < 10 {
		t.Fatalf("the document has %d blocks of commands", len(blocks))
	}
	t.Cleanup(func() {
		for _, m := range regexp.MustCompile(`kubectl create namespace (\S+)`).FindAllStringSubmatch(string(document), -1) {
			if t.Failed() {
				c.show(t, m[1])
			}
			c.run(t, "kubectl", "delete", "namespace", m[1], "--ignore-not-found", "--timeout="+patience.String())
		}
	})
	for _, m := range blocks {
		commands := elsewhere.ReplaceAllString(m[1], "")
		began := time.Now()
		out, err := s.run(commands)
		t.Logf("%s\n%s(%v)", commands, out, time.Since(began).Round(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(commands, " exec ") && !strings.Contains(out, anAnswer) {
			t.Error("no answer in the output")
		}
	}
}

// TestReadmesCommandsWorkAsPrinted runs each helm install of the README, in a copy of its charts.
func TestReadmesCommandsWorkAsPrinted(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "readme")
	s := c.newShell(t)
	if out, err := s.run("kubectl config set-context --current --namespace=" + c.namespace); err != nil {
		t.Fatal(out, err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("(?m)helm install (\\S+)[^`#\n]*").FindAllStringSubmatch(string(readme), -1)
	if len(commands) != 3 {
		t.Fatalf("the README has %d helm install commands", len(commands))
	}
	const version = "for pods in $(kubectl get deployments,daemonsets --output name); do kubectl exec $pods -- /nowd version; done"
	for _, m := range commands {
		command, release := m[0], m[1]
		for _, command := range []string{
			command,
			"for pods in $(kubectl get deployments,daemonsets --output name); do kubectl rollout status $pods --timeout=" + patience.String() + "; done",
			version,
			"helm uninstall --wait " + release,
		} {
			out, err := s.run(command)
			if err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
			if command == version && !strings.Contains(out, "nowd "+c.tag+" ") {
				t.Errorf("the version of image %s is %q", c.tag, out)
			}
		}
	}
	c.checkNothingLeft(t)
}
