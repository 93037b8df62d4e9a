//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"nowd/e2e/faults/proxy"
)

const (
	peersInterval = 2 * time.Second
	clusterName   = "nowd.cluster" // resolves to every member's address in their hosts file
	memberNTP     = "10123"
	memberHealth  = "8086"
)

// peersCluster is a cluster of nowds, each in a network namespace of its own on one bridge.
type peersCluster struct {
	hub     *namespace // of the bridge, and of the commands that ask
	hosts   string     // the members' hosts file
	members []*clusterMember
}

type clusterMember struct {
	*nowd
	name, host string
	ns         *namespace
}

// newPeersCluster makes the network of n members, and starts none of them.
func newPeersCluster(t *testing.T, n int) *peersCluster {
	t.Helper()
	tool(t, "unshare")
	c := &peersCluster{hub: newNamespace(t), hosts: filepath.Join(t.TempDir(), "hosts")}
	c.hub.ip(t, "link", "add", "bridge", "type", "bridge")
	c.hub.ip(t, "link", "set", "bridge", "up")
	c.hub.addAddress(t, "bridge", "10.77.0.100")
	for i := range n {
		m := &clusterMember{name: fmt.Sprintf("node-%d", i), host: fmt.Sprintf("10.77.0.%d", i+1), ns: newNamespace(t)}
		port := fmt.Sprintf("port%d", i)
		c.hub.ip(t, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", strconv.Itoa(m.ns.id))
		c.hub.ip(t, "link", "set", port, "master", "bridge", "up")
		m.ns.ip(t, "link", "set", "eth0", "up")
		m.ns.addAddress(t, "eth0", m.host)
		c.members = append(c.members, m)
	}
	c.name(t, c.members...)
	return c
}

// name makes the cluster's name resolve to these members. It writes the file in place, because the members have it mounted.
func (c *peersCluster) name(t *testing.T, members ...*clusterMember) {
	t.Helper()
	lines := "127.0.0.1 localhost\n"
	for _, m := range members {
		lines += m.host + " " + clusterName + "\n"
	}
	if err := os.WriteFile(c.hosts, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
}

// withHosts returns a command that runs a command with the members' hosts file.
func (c *peersCluster) withHosts(path string, args ...string) []string {
	return append([]string{"-m", "sh", "-c", `mount --bind "$0" /etc/hosts && exec "$@"`, c.hosts, path}, args...)
}

// start starts a member whose clock is off by this much, and claims an error of at most 1 ms, the smallest possible claim.
func (c *peersCluster) start(t *testing.T, m *clusterMember, off time.Duration) {
	t.Helper()
	path, err := fakeBinary()
	if err != nil {
		t.Fatal(err)
	}
	state, err := json.Marshal(kernel{Shift: off})
	if err != nil {
		t.Fatal(err)
	}
	m.nowd = &nowd{health: m.host + ":" + memberHealth, ns: m.ns, args: c.withHosts(path)}
	m.run(t, "unshare", []string{
		"PATH=" + os.Getenv("PATH"), "TZ=UTC", "GORACE=atexit_sleep_ms=0", "FAKE_CLOCK=" + string(state),
		"NOWD_UDP_LISTEN=off", "NOWD_TCP_LISTEN=off", "NOWD_HEALTH_LISTEN=:" + memberHealth, "NOWD_NTP_LISTEN=:" + memberNTP, "NOWD_LOOPS=2",
		"NOWD_NODE=" + m.name, "NOWD_PEERS=" + clusterName + ":" + memberNTP, "NOWD_PEERS_INTERVAL=" + peersInterval.String(),
	})
	m.awaitReady(t, http.StatusOK)
}

// stopped ends a member, which must exit with status 0.
func (m *clusterMember) stopped(t *testing.T) {
	t.Helper()
	_ = m.cmd.Process.Signal(os.Interrupt)
	if status := m.wait(t); status != 0 {
		t.Errorf("%s: exit status %d", m.name, status)
	}
}

// proof is the output of nowd cluster -o json.
type proof struct {
	OK         bool           `json:"ok"`
	Most       *time.Duration `json:"skew_max_ns"`
	Least      *time.Duration `json:"skew_min_ns"`
	Detects    *time.Duration `json:"detects_ns"`
	Tie        bool           `json:"tie"`
	Partitions [][]string     `json:"partitions"`
	Nodes      []struct {
		Name      string         `json:"node"`
		Error     *string        `json:"error"`
		Verdicts  []string       `json:"verdicts"`
		OffsetMin *time.Duration `json:"offset_min_ns"`
		OffsetMax *time.Duration `json:"offset_max_ns"`
		Bound     *time.Duration `json:"bound_ns"`
		Witnesses []struct {
			By string `json:"measured_by"`
		} `json:"bound_witnesses"`
	} `json:"nodes"`
	Inconsistent []json.RawMessage `json:"inconsistent"`
	Problems     []struct {
		Kind string `json:"kind"`
		Text string `json:"text"`
	} `json:"problems"`
}

// verdicts returns the verdicts of all nodes that are not ok.
func (p *proof) verdicts() string {
	var parts []string
	for _, n := range p.Nodes {
		if !slices.Equal(n.Verdicts, []string{"ok"}) {
			parts = append(parts, n.Name+" "+strings.Join(n.Verdicts, "+"))
		}
	}
	return strings.Join(parts, ", ")
}

// ask runs nowd cluster.
func (c *peersCluster) ask(t *testing.T, args ...string) (stdout string, status int) {
	t.Helper()
	path, err := fakeBinary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", c.withHosts(path, append([]string{"cluster"}, args...)...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	c.hub.thread.start(t, cmd)
	err = cmd.Wait()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if errs.Len() > 0 {
		t.Fatalf("nowd cluster %v: %s", args, errs.String())
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// prove asks all members with nowd cluster.
func (c *peersCluster) prove(t *testing.T) *proof {
	t.Helper()
	out, status := c.ask(t, "-o", "json", clusterName)
	p := new(proof)
	if err := json.Unmarshal([]byte(out), p); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if (status == 0) != p.OK || p.OK != (len(p.Problems) == 0) {
		t.Errorf("exit status %d: %s", status, out)
	}
	return p
}

// await waits until the verdicts are these, and returns the proof.
func (c *peersCluster) await(t *testing.T, what, want string, within time.Duration, also func(p *proof) bool) *proof {
	t.Helper()
	var p *proof
	began := time.Now()
	eventually(t, within, func() error {
		p = c.prove(t)
		if got := p.verdicts(); got != want || also != nil && !also(p) {
			return fmt.Errorf("%s: the verdicts are %q, want %q: %+v", what, got, want, p.Problems)
		}
		return nil
	})
	t.Logf("%s: after %v, %.1f intervals; any two clocks differ by at most %v, two of them by at least %v", what, time.Since(began).Round(time.Millisecond), time.Since(began).Seconds()/peersInterval.Seconds(), deref(p.Most), deref(p.Least))
	return p
}

func deref(d *time.Duration) time.Duration {
	if d == nil {
		return -1
	}
	return *d
}

// TestClusterProvesItsClocks has eight members. The clock of one is off by 80 ms, and another's by 5 ms. Both claim 1 ms.
func TestClusterProvesItsClocks(t *testing.T) {
	if testing.Short() {
		t.Skip("links expire after eight intervals")
	}
	t.Parallel()
	c := newPeersCluster(t, 8)
	far, liar, goes, delayed := c.members[2], c.members[5], c.members[3], c.members[6]
	for _, m := range c.members {
		off := map[*clusterMember]time.Duration{far: 80 * time.Millisecond, liar: 5 * time.Millisecond}[m]
		c.start(t, m, off)
	}
	const bothNamed = "node-2 wrong+bound_false, node-5 bound_false"
	started := time.Now()
	c.await(t, "both named", bothNamed, patience, nil)
	// Some members measured others that had just started, whose bounds were still wide. Wait until all have
	// measured again.
	eventually(t, patience, func() error {
		for _, m := range c.members {
			d := m.document(t)
			for _, l := range d.Links {
				if l.Age > time.Since(started)-peersInterval/4 {
					return fmt.Errorf("%s has a link that is %v old", m.name, l.Age)
				}
			}
			if len(d.Links) != 2 {
				return fmt.Errorf("%s has %d links, want 2", m.name, len(d.Links))
			}
		}
		return nil
	})
	t.Logf("all have measured again %.1f intervals after the start", time.Since(started).Seconds()/peersInterval.Seconds())
	p := c.await(t, "and still", bothNamed, patience, nil)
	if *p.Least < 75*time.Millisecond || *p.Least > 80*time.Millisecond || *p.Most < 80*time.Millisecond {
		t.Errorf("%+v", p)
	}
	c.compareWithQuery(t, p)
	if text, status := c.ask(t, clusterName); status != 1 || !strings.Contains(text, "\nwrong: node-2, +0.0") || !strings.Contains(text, "\nbound false: node-5 claims ±0.001") {
		t.Errorf("%d\n%s", status, text)
	}
	if picture, _ := c.ask(t, "-o", "svg", clusterName); strings.Count(picture, "<g>") != 8 {
		t.Errorf("%s", picture)
	}

	c.delayOneWay(t, delayed, bothNamed)

	for _, m := range []*clusterMember{far, liar} {
		m.stopped(t)
		c.start(t, m, 0)
	}
	p = c.await(t, "both put right", "", patience, func(p *proof) bool { return p.OK })
	if *p.Most > 70*time.Millisecond || *p.Least > 4*time.Millisecond {
		t.Errorf("%+v", p)
	}

	goes.stopped(t)
	p = c.await(t, "one gone", "10.77.0.4:10123 missing", patience, nil)
	if len(p.Partitions) != 1 || len(p.Partitions[0]) != 7 {
		t.Errorf("%v", p.Partitions)
	}
	c.name(t, slices.DeleteFunc(slices.Clone(c.members), func(m *clusterMember) bool { return m == goes })...)
	// Go's resolver reads the file again every five seconds.
	c.await(t, "and forgotten", "", 2*patience, func(p *proof) bool { return p.OK && len(p.Nodes) == 7 })

	// One side is a member with those that it measures, so that it has links within it.
	var side, others []*clusterMember
	for _, m := range c.members {
		switch {
		case m == goes:
		case m == far || slices.Contains(far.links(t), m.host+":"+memberNTP):
			side = append(side, m)
		default:
			others = append(others, m)
		}
	}
	c.partition(t, side, others)
	p = c.await(t, "a partition", "", 8*peersInterval+2*patience, func(p *proof) bool { return len(p.Partitions) == 2 })
	sizes := []int{len(side), len(others)}
	if got := []int{len(p.Partitions[0]), len(p.Partitions[1])}; !slices.Equal(got, sizes) && !slices.Equal(got, []int{sizes[1], sizes[0]}) || p.OK || p.Problems[0].Kind != "partition" {
		t.Errorf("%v of %d and %d: %+v", p.Partitions, len(side), len(others), p.Problems)
	}
	if len(p.Partitions) == 2 {
		for _, group := range p.Partitions {
			for _, m := range side {
				if slices.Contains(group, m.name) != slices.Contains(group, far.name) {
					t.Errorf("%v", p.Partitions)
				}
			}
		}
	}
}

// compareWithQuery also asks all members with nowd query. For every pair its interval and the cluster's must overlap.
func (c *peersCluster) compareWithQuery(t *testing.T, p *proof) {
	t.Helper()
	path, err := fakeBinary()
	if err != nil {
		t.Fatal(err)
	}
	command := path + " query -o json -proto ntp"
	for _, m := range c.members {
		command += " " + m.host + ":" + memberNTP
	}
	type span struct{ low, high time.Duration }
	asked := make(map[string]span)
	for line := range strings.Lines(runIn(t, c.hub, command, "").stdout) {
		var a struct {
			Type   string
			Host   string
			Offset *time.Duration `json:"offset_ns"`
			Error  *time.Duration `json:"offset_error_ns"`
		}
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			t.Fatal(err)
		}
		if a.Type == "answer" && a.Offset != nil {
			asked[a.Host] = span{*a.Offset - *a.Error, *a.Offset + *a.Error}
		}
	}
	pairs := 0
	for i, m := range c.members {
		for j, n := range c.members[:i] {
			a, b := asked[m.host+":"+memberNTP], asked[n.host+":"+memberNTP]
			// The offset of the one from the other, by query and by the cluster.
			q := span{a.low - b.high, a.high - b.low}
			k := span{*p.Nodes[i].OffsetMin - *p.Nodes[j].OffsetMax, *p.Nodes[i].OffsetMax - *p.Nodes[j].OffsetMin}
			if q.high < k.low || k.high < q.low {
				t.Errorf("%s is ahead of %s by %v to %v, and by %v to %v", m.name, n.name, q.low, q.high, k.low, k.high)
			}
			if q.low > *p.Most || q.high < -*p.Most {
				t.Errorf("%s is ahead of %s by %v to %v, and at most %v", m.name, n.name, q.low, q.high, *p.Most)
			}
			pairs++
		}
	}
	if len(asked) != len(c.members) {
		t.Errorf("query had %d answers", len(asked))
	}
	t.Logf("%d pairs agree with nowd query", pairs)
}

// delayOneWay delays all requests to a member by 40 ms, and not its answers.
func (c *peersCluster) delayOneWay(t *testing.T, m *clusterMember, want string) {
	t.Helper()
	const delay = 40 * time.Millisecond
	var d *proxy.Datagrams
	var err error
	dial := func() (conn net.Conn, err error) {
		m.ns.do(func() { conn, err = net.Dial("udp", "127.0.0.1:"+memberNTP) })
		return conn, err
	}
	m.ns.do(func() { d, err = proxy.ListenDatagrams(m.host+":"+memberNTP, dial, delay, 0) })
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for begin := time.Now(); time.Since(begin) < 3*peersInterval; time.Sleep(peersInterval / 8) {
		for _, n := range c.prove(t).Nodes { // a busy host may be too slow for a proof, but never proves something false
			if len(n.Verdicts) > 0 && !strings.Contains(want, n.Name) && (slices.Contains(n.Verdicts, "wrong") || slices.Contains(n.Verdicts, "bound_false")) {
				t.Errorf("40 ms one way, no delay back: %+v", n)
			}
		}
	}
	c.await(t, "40 ms one way, no delay back", want, patience, nil)
	// Both members that measure it see the delay.
	delayed := 0
	for _, other := range c.members {
		for _, l := range other.document(t).Links {
			if l.Member == m.host+":"+memberNTP && l.Max-l.Min >= delay {
				delayed++
			}
		}
	}
	if delayed != 2 {
		t.Errorf("%d members measured through the proxy, want 2", delayed)
	}
}

// document is a member's answer at /peers.
type document struct {
	Links []struct {
		Member string        `json:"member"`
		Age    time.Duration `json:"age_ns"`
		Min    time.Duration `json:"offset_min_ns"`
		Max    time.Duration `json:"offset_max_ns"`
	} `json:"links"`
}

func (m *clusterMember) document(t *testing.T) (d document) {
	t.Helper()
	status, body, err := m.get("/peers", patience)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d, %v", status, err)
	}
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// links returns the addresses of the members that a member measures.
func (m *clusterMember) links(t *testing.T) (members []string) {
	t.Helper()
	for _, l := range m.document(t).Links {
		members = append(members, l.Member)
	}
	return members
}

// partition blocks all traffic between two groups of members. The hub reaches both.
func (c *peersCluster) partition(t *testing.T, a, b []*clusterMember) {
	t.Helper()
	for _, m := range a {
		for _, n := range b {
			m.ns.ip(t, "route", "add", "blackhole", n.host+"/32")
			n.ns.ip(t, "route", "add", "blackhole", m.host+"/32")
		}
	}
}

// TestPeersOffIsOff: without NOWD_PEERS nowd does not serve /peers.
func TestPeersOffIsOff(t *testing.T) {
	t.Parallel()
	ntp := "127.0.0.1:" + freePort(t)
	n := start(t, "NOWD_NTP_LISTEN="+ntp)
	if status, _, err := n.get("/peers", patience); err != nil || status != http.StatusNotFound {
		t.Errorf("/peers: %d, %v", status, err)
	}
}
