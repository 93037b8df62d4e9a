//go:build linux

package node_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// TestSettingsComeFromSecrets takes a setting from a Secret, and sets all other options of the pods.
func TestSettingsComeFromSecrets(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "values")
	c.kubectl(t, "create", "secret", "generic", "limits", "--from-literal=rate=77")
	c.kubectl(t, "create", "configmap", "debug", "--from-literal=traceback=crash")
	c.install(t, "nowd", "nowd", "", "--set=mode=deployment", "--set=deployment.replicas=1",
		"--set=extraEnv[0].name=NOWD_RATE_LIMIT,extraEnv[0].valueFrom.secretKeyRef.name=limits,extraEnv[0].valueFrom.secretKeyRef.key=rate",
		"--set=extraEnv[1].name=GOTRACEBACK,extraEnv[1].valueFrom.configMapKeyRef.name=debug,extraEnv[1].valueFrom.configMapKeyRef.key=traceback",
		"--set=imagePullSecrets[0].name=limits,podAnnotations.note=one,podLabels.team=time,commonLabels.cost=seven",
		"--set=nodeSelector.kubernetes\\.io/os=linux,tolerations[0].operator=Exists,updateStrategy.type=Recreate")
	if settings := c.kubectl(t, "exec", "deployment/nowd", "--", "/nowd", "config"); !strings.Contains(settings, "\nNOWD_RATE_LIMIT=77\n") {
		t.Errorf("the settings are\n%s", settings)
	}
	if n := len(c.pods(t, serverSelector+",team=time,cost=seven")); n != 1 {
		t.Errorf("%d pods have the labels", n)
	}
	c.helm(t, "uninstall", "nowd", "--wait")
	c.kubectl(t, "delete", "secret/limits", "configmap/debug")
	c.checkNothingLeft(t)
}

// TestMistakeStartsNothing sets a time zone that does not exist, which the chart cannot know. The pod's termination
// message names the mistake.
func TestMistakeStartsNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "mistake")
	c.helm(t, "install", "nowd", filepath.Join(c.charts, "nowd"), "--set=mode=deployment", "--set=deployment.replicas=1",
		"--set=timeZone=Mars/Olympus", "--set=image.repository="+c.repository, "--set=image.tag="+c.tag)
	c.await(t, "end of the container", func() error {
		for _, p := range c.pods(t, serverSelector) {
			for _, s := range p.Status.ContainerStatuses {
				for _, end := range []*end{s.State.Terminated, s.LastState.Terminated} {
					if end == nil {
						continue
					}
					if end.ExitCode != 2 || !strings.Contains(end.Message, `TZ="Mars/Olympus": want `) {
						t.Fatalf("nowd ended as %+v", *end)
					}
					return nil
				}
			}
		}
		return errors.New("nowd has not ended")
	})
	c.helm(t, "uninstall", "nowd", "--wait")
	c.checkNothingLeft(t)
}
