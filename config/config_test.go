package config

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"nowd/answer"
	"nowd/tcp"
)

func TestDefaults(t *testing.T) {
	c, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.UDP, Listen{{Port: 3333}}) || !slices.Equal(c.TCP, c.UDP) || !slices.Equal(c.Health, Listen{{Port: 8086}}) ||
		c.Format != answer.DateTime || !c.Newline || c.Loops != 1 || c.Framing != tcp.Burst || c.MaxConns != 10000 ||
		c.IdleTimeout != 5*time.Minute || c.LivenessTimeout != 500*time.Millisecond || c.DrainDelay != 0 {
		t.Errorf("%+v", c)
	}
}

func TestEmptyVariableCountsAsNotSet(t *testing.T) {
	c, err := Load([]string{"NOWD_UDP_LISTEN=", "NOWD_LOOPS="})
	if err != nil || c.UDP.String() != ":3333" || c.Loops != 1 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestGoodValues(t *testing.T) {
	c, err := Load([]string{
		"NOWD_UDP_LISTEN=off", "NOWD_TCP_LISTEN=[::1]:99", "NOWD_HEALTH_LISTEN=localhost:1", "NOWD_FORMAT=UnixNS", "NOWD_NEWLINE=false",
		"NOWD_LOOPS=auto", "NOWD_POLLER=select", "NOWD_TCP_FRAMING=line", "NOWD_TCP_MAX_CONNS=256", "NOWD_TCP_IDLE_TIMEOUT=1ms", "NOWD_LOG_LEVEL=debug", "NOWD_LOG_FORMAT=json",
		"NOWD_CLOCKBOUND=/var/run/clockbound/shm0",
	})
	if err != nil {
		t.Fatal(err)
	}
	if !c.UDP.Off() || !slices.Equal(c.TCP, Listen{{"::1", 99}}) || !slices.Equal(c.Health, Listen{{"localhost", 1}}) || c.Format != answer.UnixNS || c.Newline || c.Loops < 1 || c.Framing != tcp.Line ||
		c.ClockBound != "/var/run/clockbound/shm0" {
		t.Errorf("%+v", c)
	}
}

// TestEveryMistakeIsReported sets every setting to a wrong value: the error names each
// variable, its value and the allowed values.
func TestEveryMistakeIsReported(t *testing.T) {
	var environ []string
	for _, s := range Settings() {
		environ = append(environ, s.Name+"=no such value")
	}
	_, err := Load(environ)
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(Settings()) {
		t.Errorf("%d lines for %d mistakes:\n%v", len(lines), len(Settings()), err)
	}
	for i, s := range Settings() {
		if want := s.Name + `="no such value": want ` + s.Allowed; lines[i] != want {
			t.Errorf("%q, want %q", lines[i], want)
		}
	}
}

func TestAddressThatIsNotAllowedIsNamed(t *testing.T) {
	for value, why := range map[string]string{
		":3333,127.0.0.1:3333":       `"127.0.0.1:3333" overlaps with an address before it`,
		":99999":                     `"99999" is not a port from 1 to 65535`,
		"127.0.0.1:http":             `"http" is not a port from 1 to 65535`,
		"127.0.0.1:3,224.0.0.1:3333": `"224.0.0.1" is a multicast or broadcast address`,
	} {
		_, err := Load([]string{"NOWD_UDP_LISTEN=" + value})
		if err == nil || !strings.HasSuffix(err.Error(), "; "+why) {
			t.Errorf("%s: %v", value, err)
		}
	}
}

func TestValuesOutOfRange(t *testing.T) {
	for _, bad := range []string{
		"NOWD_UDP_LISTEN=3333", "NOWD_UDP_LISTEN=:0", "NOWD_UDP_LISTEN=:65536", "NOWD_UDP_LISTEN=:http", "NOWD_UDP_LISTEN=::1:3333", "NOWD_UDP_LISTEN=OFF",
		"NOWD_UDP_LISTEN=[]:3333", "NOWD_UDP_LISTEN=999.1.1.1:80", "NOWD_UDP_LISTEN=a b:3333", "NOWD_UDP_LISTEN=a;b:3333", "NOWD_UDP_LISTEN=$(x):3333", "NOWD_FORMAT= unix ", "NOWD_UDP_LISTEN=[localhost]:3333", "NOWD_UDP_LISTEN=:3333,", "NOWD_UDP_LISTEN=:3333,off", "NOWD_UDP_LISTEN=127.0.0.1:1, [::1]:1", "NOWD_UDP_LISTEN=:3333,127.0.0.1:3333", "NOWD_TCP_IDLE_TIMEOUT=8761h", "NOWD_TCP_IDLE_TIMEOUT=2562047h47m16s", "NOWD_FORMAT=help", "NOWD_LOOPS=0", "NOWD_LOOPS=-1", "NOWD_LOOPS=257", "NOWD_LOOPS=1.5", "NOWD_POLLER=kqueue", "NOWD_POLLER=EPOLL",
		"NOWD_TCP_FRAMING=Line", "NOWD_TCP_MAX_CONNS=0", "NOWD_TCP_MAX_CONNS=-5", "NOWD_TCP_MAX_CONNS=99999999999999999999", "NOWD_TCP_IDLE_TIMEOUT=0", "NOWD_TCP_IDLE_TIMEOUT=5", "NOWD_TCP_IDLE_TIMEOUT=-5m",
		"NOWD_TCP_WRITE_TIMEOUT=0s", "NOWD_CLOCK_MAX_ERROR=0", "NOWD_LIVENESS_TIMEOUT=999us", "NOWD_DRAIN_DELAY=-1s", "NOWD_SHUTDOWN_TIMEOUT=soon",
		"NOWD_RATE_LIMIT=0", "NOWD_RATE_LIMIT=1000000001", "NOWD_RATE_LIMIT=none", "NOWD_RATE_BURST=0", "NOWD_RATE_BURST=off", "NOWD_RATE_BURST=1000000001", "NOWD_LOG_LEVEL=loud", "NOWD_LOG_FORMAT=xml", "NOWD_REQUIRE_SYNC=perhaps",
		"NOWD_CLOCKBOUND=shm0", "NOWD_CLOCKBOUND=./shm0", "NOWD_CLOCKBOUND=/", "NOWD_CLOCKBOUND=/run/clockbound/", "NOWD_CLOCKBOUND=OFF",
		"NOWD_XDP=,generic", "NOWD_XDP=eth0,native", "NOWD_XDP=eth0,", "NOWD_XDP=a b", "NOWD_XDP=sixteencharacter",
	} {
		name, value, _ := strings.Cut(bad, "=")
		_, err := Load([]string{bad})
		if err == nil || !strings.HasPrefix(err.Error(), name+`="`+value+`": want `) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if _, err := Load([]string{"NOWD_LOOPS=4", "NOWD_TCP_MAX_CONNS=3"}); err == nil {
		t.Error("fewer connections than loops")
	}
}

func TestMembersOfACluster(t *testing.T) {
	for _, bad := range []string{"node", "node:0", ":123", "a:1,", "a:1;b:2", "10.0.0.1", "224.0.0.1:123"} {
		if _, err := Load([]string{"NOWD_NTP_LISTEN=:123", "NOWD_PEERS=" + bad}); err == nil || !strings.HasPrefix(err.Error(), `NOWD_PEERS="`+bad+`": want `) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	c, err := Load([]string{"NOWD_NTP_LISTEN=:123", "NOWD_PEERS=nowd.example:123, [2001:db8::1]:1123,10.0.0.1:123", "NOWD_NODE=node-7"})
	if err != nil || !slices.Equal(c.Peers, Members{"nowd.example:123", "[2001:db8::1]:1123", "10.0.0.1:123"}) || !c.Peers.HasName() || c.PeersInterval != 16*time.Second || c.Node != "node-7" {
		t.Errorf("%+v, %v", c, err)
	}
	if (Members{"[2001:db8::1]:1123", "10.0.0.1:123"}).HasName() {
		t.Error("HasName is true for two addresses")
	}
	if c, err := Load(nil); err != nil || c.Peers != nil || c.Node == "auto" || c.Node == "" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := Load([]string{"NOWD_NODE=a b"}); err == nil {
		t.Error("a node's name with a blank is accepted")
	}
}

// TestMembersNeedWhatTheyAreMeasuredBy: NOWD_PEERS needs NTP, by which the members measure
// this host, and the health endpoint, which serves its measurements.
func TestMembersNeedWhatTheyAreMeasuredBy(t *testing.T) {
	_, err := Load([]string{"NOWD_PEERS=nowd.example:123", "NOWD_HEALTH_LISTEN=off"})
	if err == nil || !strings.Contains(err.Error(), `NOWD_NTP_LISTEN="off": want`) || !strings.Contains(err.Error(), `NOWD_HEALTH_LISTEN="off": want`) {
		t.Error(err)
	}
}

func TestUnknownVariables(t *testing.T) {
	got := unknown([]string{
		"NOWD_FOO=1", "NOWD_UDP_LISTEN=off", "NOWD_SERVICE_HOST=10.0.0.1", "NOWD_SERVICE_PORT=3333", "NOWD_SERVICE_PORT_TIME=3333", "NOWD_PORT=tcp://10.0.0.1:3333", "NOWD_PORT_3333_UDP_ADDR=10.0.0.1",
		"NOWD_UDP_SERVICE_HOST=10.0.0.1", "NOWD_UDP_PORT=udp://10.0.0.1:3333", "NOWD_UDP_PORT_3333_UDP=udp://10.0.0.1:3333", "NOWDX=1", "PATH=/", "NOWD_FORMATT=unix",
	})
	if !slices.Equal(got, []string{"NOWD_FOO", "NOWD_FORMATT"}) {
		t.Error(got)
	}
}

func TestListenAddresses(t *testing.T) {
	for text, want := range map[string][]string{
		"off": nil, ":3333": {"0.0.0.0:3333", "[::]:3333"}, "0.0.0.0:1": {"0.0.0.0:1"}, "[::1]:2": {"[::1]:2"}, "[::ffff:127.0.0.1]:3": {"127.0.0.1:3"}, "[fe80::1%eth0]:4": {"[fe80::1%eth0]:4"},
		"127.0.0.1:5,[::1]:5": {"127.0.0.1:5", "[::1]:5"}, ":6,:7": {"0.0.0.0:6", "[::]:6", "0.0.0.0:7", "[::]:7"},
	} {
		var l Listen
		if err := l.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := l.Addrs()
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %v, %v", text, got, err)
			continue
		}
		for i := range want {
			if got[i] != netip.MustParseAddrPort(want[i]) {
				t.Errorf("%s: %v, want %v", text, got, want)
			}
		}
	}
	var l Listen
	if err := l.UnmarshalText([]byte("localhost:5")); err != nil {
		t.Fatal(err)
	}
	if got, err := l.Addrs(); err != nil || len(got) == 0 || !got[0].Addr().IsLoopback() {
		t.Errorf("localhost: %v, %v", got, err)
	}
}

func TestPrintWritesAnEnvironmentFile(t *testing.T) {
	var out bytes.Buffer
	Print(&out, []string{"NOWD_LOOPS=3", "NOWD_FOO=1"})
	var environ []string
	for line := range strings.Lines(out.String()) {
		if line = strings.TrimSuffix(line, "\n"); !strings.HasPrefix(line, "# ") {
			environ = append(environ, line)
		}
	}
	if c, err := Load(environ); err != nil || c.Loops != 3 || len(environ) != len(Settings()) {
		t.Errorf("%q: %v", environ, err)
	}
}

func TestWarningsNameTheVariable(t *testing.T) {
	if got := Warnings([]string{"NOWD_FOO=1", "TZ=UTC", "NOWD_LOOPS=2"}); !slices.Equal(got, []Warning{{"NOWD_FOO", "no such setting"}}) {
		t.Errorf("%q", got)
	}
}

// TestUnknownTimeZoneIsRefused: package time would silently use UTC.
func TestUnknownTimeZoneIsRefused(t *testing.T) {
	dir := t.TempDir()
	good, bad := dir+"/good", dir+"/bad"
	// TZif of version 1 with one zone, UTC: tzfile(5).
	utc := "TZif" + strings.Repeat("\x00", 16+4*4) + "\x00\x00\x00\x01" + "\x00\x00\x00\x04" + strings.Repeat("\x00", 6) + "UTC\x00"
	for path, data := range map[string]string{good: utc, bad: "no zone"} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for zone, refused := range map[string]bool{
		"": false, ":": false, "Europe/Zurich": false, ":Europe/Zurich": false, "UTC": false, "Mars/Olympus": true,
		good: false, ":" + good: false, bad: true, ":" + bad: true, dir: true, dir + "/none": true, "::" + good: true,
	} {
		_, err := Load([]string{"TZ=" + zone})
		if (err != nil) != refused || refused && !strings.HasPrefix(err.Error(), fmt.Sprintf("TZ=%q: want ", zone)) {
			t.Errorf("TZ=%s: %v", zone, err)
		}
	}
}

func TestTimeZoneThatIsAPipeIsNotWaitedFor(t *testing.T) {
	pipe := t.TempDir() + "/pipe"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	loaded := make(chan error, 1)
	go func() {
		_, err := Load([]string{"TZ=" + pipe})
		loaded <- err
	}()
	select {
	case err := <-loaded:
		if err == nil {
			t.Error("a pipe is accepted as a zone")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Load blocks")
	}
}

func TestNothingToServeIsRefused(t *testing.T) {
	off := []string{"NOWD_UDP_LISTEN=off", "NOWD_TCP_LISTEN=off"}
	if _, err := Load(off); err == nil || !strings.HasPrefix(err.Error(), `NOWD_UDP_LISTEN="off": want an address`) {
		t.Error(err)
	}
	for _, on := range []string{"NOWD_UDP_LISTEN=:1", "NOWD_TCP_LISTEN=:1", "NOWD_DAYTIME_LISTEN=:1", "NOWD_TIME_LISTEN=:1", "NOWD_NTP_LISTEN=:1"} {
		if _, err := Load(append(off, on)); err != nil {
			t.Errorf("%s: %v", on, err)
		}
	}
}

// TestIPv6IsNotNeededBesideIPv4: a host without IPv6 serves the same clients over IPv4.
func TestIPv6IsNotNeededBesideIPv4(t *testing.T) {
	for _, c := range []struct {
		listen, addr string
		needed       bool
	}{
		{":1", "::", false}, {"[::]:1", "::", true}, {"127.0.0.1:1,[::1]:1", "::1", false}, {"[::1]:1", "::1", true},
		{"192.0.2.1:1,[::1]:1", "::1", true}, {"127.0.0.1:1,[2001:db8::1]:1", "2001:db8::1", true}, {":1", "0.0.0.0", false},
	} {
		var l Listen
		if err := l.UnmarshalText([]byte(c.listen)); err != nil {
			t.Fatal(err)
		}
		if got := l.NeedsIPv6(netip.MustParseAddr(c.addr)); got != c.needed {
			t.Errorf("%s, %s: %v", c.listen, c.addr, got)
		}
	}
}

func TestUpstreamServers(t *testing.T) {
	for value, want := range map[string]string{
		"off":                              "[]",
		"pool.example.org":                 "[pool.example.org]",
		"192.0.2.1, 2001:db8::1,[::1]:124": "[192.0.2.1 2001:db8::1 [::1]:124]",
		"a:0":                              "bad", "a:b": "bad", ":123": "bad", "a,,b": "bad", "a b": "bad", "127.0.0.1:": "bad",
	} {
		c, err := Load([]string{"NOWD_UPSTREAM=" + value})
		switch {
		case want == "bad" && (err == nil || !strings.Contains(err.Error(), "NOWD_UPSTREAM=")):
			t.Errorf("%q: %v", value, err)
		case want != "bad" && (err != nil || fmt.Sprint(c.Upstream) != want):
			t.Errorf("%q: %v, %v", value, c.Upstream, err)
		}
	}
}

func TestAddressesAreGivenOutOnce(t *testing.T) {
	for _, c := range []struct{ environ, wrong string }{
		{"", ""},
		{"NOWD_DAYTIME_LISTEN=:13 NOWD_TIME_LISTEN=:37 NOWD_NTP_LISTEN=:123", ""},
		{"NOWD_UDP_LISTEN=127.0.0.1:4000 NOWD_NTP_LISTEN=127.0.0.2:4000", ""},
		{"NOWD_HEALTH_LISTEN=:3333", `NOWD_HEALTH_LISTEN=":3333": want a port that NOWD_TCP_LISTEN=":3333" does not have`},
		{"NOWD_TCP_LISTEN=off NOWD_HEALTH_LISTEN=:3333", ""},
		{"NOWD_NTP_LISTEN=127.0.0.1:3333", `NOWD_NTP_LISTEN="127.0.0.1:3333": want a port that NOWD_UDP_LISTEN`},
		{"NOWD_UDP_LISTEN=[::1]:4000 NOWD_NTP_LISTEN=[0:0::1]:4000", `NOWD_NTP_LISTEN="[0:0::1]:4000": want a port`},
		{"NOWD_TCP_LISTEN=0.0.0.0:4000 NOWD_HEALTH_LISTEN=127.0.0.1:4000", `NOWD_HEALTH_LISTEN="127.0.0.1:4000": want a port`},
		{"NOWD_TCP_LISTEN=0.0.0.0:4000 NOWD_HEALTH_LISTEN=[::1]:4000", ""},
		{"NOWD_UDP_LISTEN=LOCALHOST:4000 NOWD_NTP_LISTEN=localhost:4000", "want a port"},
		{"NOWD_UDP_LISTEN=224.0.0.1:4000", `NOWD_UDP_LISTEN="224.0.0.1:4000": want host:port`},
		{"NOWD_UDP_LISTEN=127.0.0.1:4000,[::1]:4001 NOWD_NTP_LISTEN=[::1]:4000,127.0.0.1:4001", ""},
		{"NOWD_UDP_LISTEN=127.0.0.1:4000,[::1]:4001 NOWD_NTP_LISTEN=127.0.0.2:4000,:4001", `NOWD_NTP_LISTEN="127.0.0.2:4000,:4001": want a port`},
		{"NOWD_DAYTIME_LISTEN=:13 NOWD_TIME_LISTEN=:13", `NOWD_TIME_LISTEN=":13": want a port that NOWD_DAYTIME_LISTEN`},
	} {
		_, err := Load(strings.Fields(c.environ))
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: %v", c.environ, err)
		}
	}
}

const settingsPage = "../docs/settings.md"

var update = flag.Bool("update", false, "write what is generated instead of comparing it")

// TestSettingsPageShowsTheSettings holds the table in docs/settings.md to the
// struct's tags.
func TestSettingsPageShowsTheSettings(t *testing.T) {
	var table strings.Builder
	table.WriteString("| variable | default | meaning | allowed values |\n|---|---|---|---|\n")
	for _, s := range Settings() {
		table.WriteString("| `" + s.Name + "` | `" + s.Default + "` | " + s.Description + " | " + s.Allowed + " |\n")
	}
	page, err := os.ReadFile(settingsPage)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- settings: go test ./config -run SettingsPage -update -->\n", "<!-- end of settings -->\n"
	head, rest, ok := strings.Cut(string(page), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("docs/settings.md has no place for the table")
	}
	want := head + begin + table.String() + end + tail
	if *update {
		if err := os.WriteFile(settingsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(page) {
		t.Error("the table in docs/settings.md is not the program's; go test ./config -run SettingsPage -update writes it")
	}
}

// TestSettingsPageShowsTheOutput holds the examples in docs/settings.md to what nowd prints.
func TestSettingsPageShowsTheOutput(t *testing.T) {
	page, err := os.ReadFile(settingsPage)
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	Print(&all, []string{"NOWD_FORMAT=rfc3339"})
	lines := strings.Split(all.String(), "\n")
	i := slices.Index(lines, "NOWD_FORMAT=rfc3339")
	if i < 2 {
		t.Fatal(all.String())
	}
	_, mistakes := Load([]string{"NOWD_LOOPS=0", "NOWD_TCP_FRAMING=Line"})
	for _, want := range []string{
		"$ NOWD_FORMAT=rfc3339 nowd config | grep -B 2 '^NOWD_FORMAT='\n" + strings.Join(lines[i-2:i+1], "\n"),
		fmt.Sprintf("$ NOWD_LOOPS=0 NOWD_TCP_FRAMING=Line nowd\n%v", mistakes),
	} {
		if !strings.Contains(string(page), want+"\n```\n") {
			t.Errorf("docs/settings.md does not show:\n%s", want)
		}
	}
}

// TestReadmeShowsTheDefaults holds the settings in the README to the struct's tags.
func TestReadmeShowsTheDefaults(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults := make(map[string]string)
	for _, s := range Settings() {
		defaults[s.Name] = s.Default
	}
	rows := regexp.MustCompile("(?m)^\\| `(NOWD_\\w+)` \\| `([^`]*)` \\|").FindAllStringSubmatch(string(readme), -1)
	if len(rows) == 0 {
		t.Error("the README has no table of settings")
	}
	for _, row := range rows {
		if want, ok := defaults[row[1]]; !ok || row[2] != want {
			t.Errorf("the README says that the default of %s is %q, want %q", row[1], row[2], want)
		}
	}
}

func TestXDPInterfaces(t *testing.T) {
	for text, want := range map[string]XDP{
		"off": {}, "eth0": {Interface: "eth0"}, "enp3s0f1np1,generic": {Interface: "enp3s0f1np1", Generic: true}, "bond0.100": {Interface: "bond0.100"},
	} {
		c, err := Load([]string{"NOWD_XDP=" + text})
		if err != nil || c.XDP != want || c.XDP.String() != text {
			t.Errorf("%s: %+v, %v", text, c.XDP, err)
		}
	}
}
