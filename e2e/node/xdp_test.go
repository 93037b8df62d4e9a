//go:build linux

package node_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestDriverOfTheNodeAnswersPods has the interface that leads to a node's pods answer NTP for a pod (xdp.interface), and
// checks that the release leaves no program on it. The test runs in the node's network only: it looks at the interface there.
// It uses generic mode, because the interface is a bridge.
func TestDriverOfTheNodeAnswersPods(t *testing.T) {
	t.Parallel()
	c := newCluster(t, "xdp")
	if !isLocal(t, c.nodeAddress(t)) {
		t.Skip("this is not the node's network")
	}
	link, address := c.linkToPods(t)
	client := c.namespace
	c.namespace += "-host" // where pods may have the node's network
	c.makeNamespace(t, c.namespace, "privileged")
	// Ports that no other test takes.
	c.install(t, "nowd", "nowd", "", "--set=mode=daemonset", "--set=daemonset.hostNetwork=true",
		"--set=xdp.interface="+link, "--set=xdp.generic=true",
		"--set=ports.udp=3335", "--set=ports.tcp=3335", "--set=ports.ntp=125", "--set=ports.health=8088")
	c.awaitDriver(t)
	if shown := c.run(t, "ip", "-o", "link", "show", link); !strings.Contains(shown, "xdpgeneric") {
		t.Errorf("no program is attached: %s", shown)
	}

	// The sockets answer the first request, which wakes the driver.
	const questions = "20"
	c.start(t, client, "client", nil, nil, "/nowd", "query", "-proto", "ntp", "-n", questions, "-i", "200ms", "-timeout", "5s", address+":125")
	out, status := c.awaitEnd(t, client, "client")
	if status != 0 || !isAnswer(out) {
		t.Errorf("NTP at the node's address: status %d\n%s", status, out)
	}
	const answered, attached = `nowd_xdp_answers_total{protocol="ntp"} `, `nowd_xdp_attached{interface=%q} 1`
	c.await(t, "answers by the driver", func() error {
		metrics, err := get("http://" + net.JoinHostPort(address, "8088") + "/metrics")
		if err != nil {
			return err
		}
		if want := fmt.Sprintf(attached, link+",generic"); !strings.Contains(metrics, want) {
			return fmt.Errorf("no %s in\n%s", want, metrics)
		}
		_, value, _ := strings.Cut(metrics, answered)
		value, _, _ = strings.Cut(value, "\n")
		if value == "" || value == "0" {
			return errors.New("the driver gives no answer")
		}
		t.Logf("%s of %s answers by the driver", value, questions)
		return nil
	})

	c.helm(t, "uninstall", "nowd", "--wait")
	c.checkNothingLeft(t)
	c.await(t, "the program of a release that is gone", func() error {
		if shown := c.run(t, "ip", "-o", "link", "show", link); strings.Contains(shown, "xdp") {
			return fmt.Errorf("a program is attached: %s", shown)
		}
		return nil
	})
}

// awaitDriver waits until the pods are ready. It ends the test if the node's kernel or container runtime refuses the program.
func (c *cluster) awaitDriver(t *testing.T) {
	t.Helper()
	c.await(t, "the driver", func() error {
		pods := c.pods(t, serverSelector)
		for _, p := range pods {
			if len(p.Status.ContainerStatuses) == 0 {
				return fmt.Errorf("%s has no container", p.Metadata.Name)
			}
			s := p.Status.ContainerStatuses[0]
			for _, end := range []*end{s.State.Terminated, s.LastState.Terminated} {
				if end == nil {
					continue
				}
				if os.Getenv("CI") == "true" || !strings.Contains(end.Message, "NOWD_XDP") {
					t.Fatalf("nowd ended: %+v", *end)
				}
				t.Skipf("the node has no XDP: %s", end.Message)
			}
			if !s.Ready {
				return fmt.Errorf("%s is not ready", p.Metadata.Name)
			}
		}
		if len(pods) == 0 {
			return errors.New("there is no pod")
		}
		return nil
	})
}

// linkToPods returns the node's interface that leads to its pods, and its address, which is the pods' gateway.
func (c *cluster) linkToPods(t *testing.T) (link, address string) {
	t.Helper()
	c.start(t, c.namespace, "anywhere", nil, nil, "/nowd", "version")
	c.awaitEnd(t, c.namespace, "anywhere")
	pod := c.podNamed(t, c.namespace, "anywhere").Status.PodIP
	var routes []struct{ Dev, Prefsrc string }
	c.decode(t, c.run(t, "ip", "-json", "route", "get", pod), &routes)
	if len(routes) != 1 || routes[0].Prefsrc == "" {
		t.Fatalf("routes to the pod at %s: %+v", pod, routes)
	}
	return routes[0].Dev, routes[0].Prefsrc
}

// isLocal reports whether an interface of this network has an address.
func isLocal(t *testing.T, address string) bool {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		n, ok := a.(*net.IPNet)
		return ok && n.IP.Equal(net.ParseIP(address))
	})
}

// get returns the body of what a URL names.
func get(url string) (string, error) {
	r, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}
