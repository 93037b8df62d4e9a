//go:build linux

package e2e_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A connected socket receives an answer only from the address that it asked.

func TestAnswerLeavesFromTheAddressAsked(t *testing.T) {
	t.Parallel()
	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			port := freePort(t)
			start(t, append(everywhere(port), c.env...)...)
			hosts := []string{"127.0.0.1", "127.0.0.2", "127.1.2.3"}
			if haveIPv6() {
				hosts = append(hosts, "::1")
			}
			for _, host := range hosts {
				for _, network := range []string{"udp", "tcp"} {
					answer, s := ask(t, network, net.JoinHostPort(host, port), "hello\n")
					if err := verify("datetime", answer, time.UTC, s); err != nil {
						t.Errorf("%s %s: %v", network, host, err)
					}
				}
			}
		})
	}
}

func TestAnswerLeavesFromTheInterfacesSecondAddress(t *testing.T) {
	t.Parallel()
	server, client := newNamespace(t), newNamespace(t)
	server.ip(t, "link", "add", "nowd0", "type", "veth", "peer", "name", "nowd1", "netns", strconv.Itoa(client.id))
	servers, clients := []string{"192.0.2.1", "192.0.2.2"}, []string{"192.0.2.100"}
	if haveIPv6() {
		servers = append(servers, "2001:db8::1", "2001:db8::2", "fe80::1")
		clients = append(clients, "2001:db8::100", "fe80::100")
	}
	for _, host := range servers {
		server.addAddress(t, "nowd0", host)
	}
	for _, host := range clients {
		client.addAddress(t, "nowd1", host)
	}
	server.ip(t, "link", "set", "nowd0", "up")
	client.ip(t, "link", "set", "nowd1", "up")

	for _, c := range configurations {
		t.Run(c.name, func(t *testing.T) {
			port := freePort(t)
			startIn(t, server, append(everywhere(port), c.env...)...)
			for _, host := range servers {
				if host == "fe80::1" {
					host += "%" + client.index(t, "nowd1")
				}
				for _, network := range []string{"udp", "tcp"} {
					var conn net.Conn
					var err error
					client.do(func() { conn, err = net.DialTimeout(network, net.JoinHostPort(host, port), patience) })
					if err != nil {
						t.Fatal(err)
					}
					answer, s := askOn(t, conn, "hello\n")
					conn.Close()
					if err := verify("datetime", answer, time.UTC, s); err != nil {
						t.Errorf("%s %s: %v", network, host, err)
					}
				}
			}
		})
	}
}

// nowd waits for a missing address, as in a pod whose network is configured late.
func TestAddressThatIsNotThereYetIsWaitedFor(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	port := freePort(t)
	n := launchIn(t, ns, "NOWD_UDP_LISTEN=192.0.2.1:"+port, "NOWD_TCP_LISTEN=192.0.2.1:"+port)
	n.awaitReady(t, http.StatusServiceUnavailable)
	ns.addAddress(t, "lo", "192.0.2.1")
	added := time.Now()
	n.awaitReady(t, http.StatusOK)
	if took := time.Since(added); took > 2*time.Second {
		t.Errorf("served %v after the address was added", took)
	}
}

// TestLoopbackAloneIsReachedByNobodyElse has all listeners at both loopback addresses, as a sidecar has by default, and once
// more without IPv6.
func TestLoopbackAloneIsReachedByNobodyElse(t *testing.T) {
	t.Parallel()
	for _, families := range []string{"IPv4AndIPv6", "IPv4"} {
		t.Run(families, func(t *testing.T) {
			t.Parallel()
			if families != "IPv4" && !haveIPv6() {
				lacking(t, "no IPv6")
			}
			ns := newNamespace(t)
			hosts := []string{"127.0.0.1", "::1"}
			if families == "IPv4" {
				ns.do(func() { _ = os.WriteFile("/proc/sys/net/ipv6/conf/lo/disable_ipv6", []byte("1"), 0) })
				hosts = hosts[:1]
			}
			ns.addAddress(t, "lo", "192.0.2.1") // as the pod's address
			port, health := freePort(t), freePort(t)
			both := func(port string) string { return "127.0.0.1:" + port + ",[::1]:" + port }
			n := launchIn(t, ns, "NOWD_UDP_LISTEN="+both(port), "NOWD_TCP_LISTEN="+both(port), "NOWD_HEALTH_LISTEN="+both(health))
			n.health = "127.0.0.1:" + health
			n.awaitReady(t, http.StatusOK)
			for _, network := range []string{"udp", "tcp"} {
				for _, host := range hosts {
					var conn net.Conn
					var err error
					ns.do(func() { conn, err = net.DialTimeout(network, net.JoinHostPort(host, port), patience) })
					if err != nil {
						t.Fatal(err)
					}
					if answer, s := askOn(t, conn, "hello\n"); verify("datetime", answer, time.UTC, s) != nil {
						t.Errorf("%s %s: %q", network, host, answer)
					}
					conn.Close()
				}
			}
			for _, at := range []string{port, health} {
				ns.do(func() {
					if conn, err := net.DialTimeout("tcp", "192.0.2.1:"+at, patience); err == nil {
						conn.Close()
						t.Errorf("port %s is open at the pod's own address", at)
					}
				})
			}
			var listeners []string
			ns.do(func() {
				out, err := exec.Command("ss", "-Hlnu").Output()
				if err != nil {
					t.Fatal(err)
				}
				listeners = strings.Fields(string(out))
			})
			for _, word := range listeners {
				if strings.HasSuffix(word, ":"+port) && !strings.HasPrefix(word, "127.0.0.1:") && !strings.HasPrefix(word, "[::1]:") {
					t.Errorf("datagrams are received at %s", word)
				}
			}
		})
	}
}

// namespace is a network namespace, held by a thread. It ends with the test and the processes that the test has started.
type namespace struct{ *thread }

func newNamespace(t *testing.T) *namespace {
	t.Helper()
	tool(t, "ip")
	if os.Geteuid() != 0 {
		lacking(t, "a network namespace needs root")
	}
	ns := &namespace{newThread()}
	t.Cleanup(ns.end)
	var err error
	ns.do(func() { err = syscall.Unshare(syscall.CLONE_NEWNET) })
	if err != nil {
		lacking(t, "no network namespace: "+err.Error())
	}
	ns.ip(t, "link", "set", "lo", "up")
	return ns
}

func (ns *namespace) ip(t *testing.T, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", args...)
	var out []byte
	var err error
	ns.do(func() { out, err = cmd.CombinedOutput() })
	if err != nil {
		t.Fatalf("%s: %v: %s", cmd, err, out)
	}
}

// addAddress adds an address that is usable at once.
func (ns *namespace) addAddress(t *testing.T, link, host string) {
	t.Helper()
	if net.ParseIP(host).To4() != nil {
		ns.ip(t, "address", "add", host+"/24", "dev", link)
	} else {
		ns.ip(t, "address", "add", host+"/64", "dev", link, "nodad")
	}
}

// index returns the index of an interface, which is also its zone in an address.
func (ns *namespace) index(t *testing.T, link string) string {
	t.Helper()
	var ifi *net.Interface
	var err error
	ns.do(func() { ifi, err = net.InterfaceByName(link) })
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(ifi.Index)
}
