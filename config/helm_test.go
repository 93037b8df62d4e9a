package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"nowd/tcp"
)

// TestChartKnowsTheSettings holds the chart's schema, and the defaults in its
// README, to the struct's tags. The chart has each setting under its own name,
// except a listener's address, which it makes of a port, and NOWD_XDP, which it makes
// of the values xdp.interface and xdp.generic.
func TestChartKnowsTheSettings(t *testing.T) {
	text, err := os.ReadFile("../helm/nowd/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	type object struct{ Properties map[string]json.RawMessage }
	var schema struct {
		Properties struct{ Ports, Settings, XDP object }
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../helm/nowd/README.md")
	if err != nil {
		t.Fatal(err)
	}

	var ports, names []string
	defaults := make(map[string]string)
	for _, s := range Settings() {
		defaults[s.Name] = s.Default
		if s.Name == "NOWD_XDP" {
			if row := "| `xdp.interface` | `\"\"` |"; s.Default != "off" || !strings.Contains(string(readme), row) {
				t.Errorf("the default of NOWD_XDP is %s, and the README has no row %s", s.Default, row)
			}
			continue
		}
		listener, ok := strings.CutSuffix(s.Name, "_LISTEN")
		if !ok {
			names = append(names, s.Name)
			continue
		}
		port := strings.ToLower(strings.TrimPrefix(listener, "NOWD_"))
		ports = append(ports, port)
		if row := "| `ports." + port + "` | `" + strings.TrimPrefix(s.Default, ":") + "` |"; !strings.Contains(string(readme), row) {
			t.Errorf("the README has no row %s", row)
		}
	}
	slices.Sort(ports)
	slices.Sort(names)
	if got := slices.Sorted(maps.Keys(schema.Properties.Ports.Properties)); !slices.Equal(got, ports) {
		t.Errorf("ports %q, want %q", got, ports)
	}
	if got := slices.Sorted(maps.Keys(schema.Properties.Settings.Properties)); !slices.Equal(got, names) {
		t.Errorf("settings %q, want %q", got, names)
	}
	checkXDPValues(t, schema.Properties.XDP.Properties)

	// `NOWD_SHUTDOWN_TIMEOUT` (5s) is a default of nowd; (10s in a Deployment) is the chart's.
	for _, m := range regexp.MustCompile("`(NOWD_[A-Z_]+)` \\(([^ )]+)\\)").FindAllStringSubmatch(string(readme), -1) {
		if name, def := m[1], m[2]; def != defaults[name] {
			t.Errorf("the README says that the default of %s is %s, want %s", name, def, defaults[name])
		}
	}
}

// checkXDPValues holds the chart's values of xdp to NOWD_XDP: xdp.interface accepts
// the names that NOWD_XDP accepts, and no others.
func checkXDPValues(t *testing.T, values map[string]json.RawMessage) {
	t.Helper()
	if got, want := slices.Sorted(maps.Keys(values)), []string{"generic", "interface"}; !slices.Equal(got, want) {
		t.Fatalf("values of xdp %q, want %q", got, want)
	}
	var name struct{ AnyOf []struct{ Pattern string } }
	if err := json.Unmarshal(values["interface"], &name); err != nil || len(name.AnyOf) == 0 {
		t.Fatalf("%s: %v", values["interface"], err)
	}
	pattern := regexp.MustCompile(name.AnyOf[0].Pattern)
	for _, text := range []string{"eth0", "eno1.100", "br-0", "fifteencharacte", "sixteencharacter", "a b", "a@b", "a:b", "µ", "eth0,generic"} {
		var x XDP
		if accepted := x.UnmarshalText([]byte(text)) == nil && !x.Generic; accepted != pattern.MatchString(text) {
			t.Errorf("NOWD_XDP accepts the interface %q: %v; xdp.interface does: %v", text, accepted, !accepted)
		}
	}
}

// TestChartsMemoryHoldsItsConnections compares the constants in the chart with those of
// package tcp, and the table in values.yaml with what they give.
func TestChartsMemoryHoldsItsConnections(t *testing.T) {
	read := func(file string) string {
		text, err := os.ReadFile("../helm/nowd/" + file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	resources, values := read("templates/_resources.tpl"), read("values.yaml")
	const (
		receiveBuffers = 2 << 20 // of four protocols, over IPv4 and IPv6
		probes         = 4 << 20 // for nowd healthcheck in a sidecar's container
		driver         = 6 << 20 // the maps of NOWD_XDP, which the kernel charges to the container
	)
	for _, want := range []string{
		fmt.Sprintf("$base := mul %d 1024 1024", tcp.BaseMemory>>20),
		fmt.Sprintf("$budget := mul %d 1024 1024", tcp.Budget>>20),
		fmt.Sprintf("$connection := %d }", tcp.ConnMemory),
		fmt.Sprintf("(mul %d 1024) | mul $servers", tcp.ServerBudget(1<<20)>>10),
		fmt.Sprintf("$datagrams := mul %d 1024 1024", receiveBuffers>>20),
		fmt.Sprintf("$probes := mul %d 1024 1024", probes>>20),
		fmt.Sprintf("$driver := mul %d 1024 1024", driver>>20),
		fmt.Sprintf("max %d (div (div $most $loops) 8)", tcp.MaxLingering(0)),
	} {
		if !strings.Contains(resources, want) {
			t.Errorf("templates/_resources.tpl has no %s", want)
		}
	}
	modes := regexp.MustCompile(`(?m)^(\w+): +\{connections: (\d+), +cpuRequest: (\w+), +cpuLimit: (\w+)\}`).FindAllStringSubmatch(resources, -1)
	if len(modes) != 3 {
		t.Errorf("templates/_resources.tpl has %d modes", len(modes))
	}
	for _, m := range modes {
		mode, cpu := m[1], m[3]
		if m[4] != m[3] {
			cpu += " to " + m[4]
		}
		conns, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		needed := tcp.MaxMemory(conns, 1, 1) + receiveBuffers
		if mode == "sidecar" {
			needed += probes
		}
		const step = 4 << 20
		row := fmt.Sprintf(`(?m)^# +%s +%s +%d +%dMi$`, mode, cpu, conns, (needed+step-1)/step*step>>20)
		if !regexp.MustCompile(row).MatchString(values) {
			t.Errorf("values.yaml has no row %s", row)
		}
	}
}

// TestChartReadmeShowsTheValues compares the table in the chart's README with values.yaml,
// in which each value has a comment that starts with "# -- ".
func TestChartReadmeShowsTheValues(t *testing.T) {
	values, err := os.ReadFile("../helm/nowd/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	table, err := valuesTable(string(values))
	if err != nil {
		t.Fatal(err)
	}
	const (
		file  = "../helm/nowd/README.md"
		begin = "<!-- values: go test ./config -run Readme -update -->\n"
		end   = "<!-- end of values -->\n"
	)
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(readme), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the chart's README has no place for the values")
	}
	want := head + begin + table + end + tail
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(readme) {
		t.Error("the table in the chart's README differs from values.yaml; run go test ./config -run Readme -update")
	}
}

// valuesTable makes the table. It understands YAML with one key per line, followed by its
// value or, indented by two, by its keys.
func valuesTable(yaml string) (string, error) {
	key := regexp.MustCompile(`^((?:  )*)([A-Za-z]+):(?: (.+))?$`)
	var table strings.Builder
	table.WriteString("| value | default | |\n|---|---|---|\n")
	var path []string
	comment := ""
	for line := range strings.Lines(yaml) {
		line = strings.TrimRight(line, "\n")
		text := strings.TrimSpace(line)
		if said, ok := strings.CutPrefix(text, "# -- "); ok {
			comment = said
			continue
		}
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		m := key.FindStringSubmatch(line)
		if m == nil || len(m[1])/2 > len(path) {
			return "", fmt.Errorf("values.yaml: %q is no line of a key", line)
		}
		path = append(path[:len(m[1])/2], m[2])
		switch name := strings.Join(path, "."); {
		case m[3] == "" && comment != "":
			return "", fmt.Errorf("values.yaml: %s has a comment for the table, and no value", name)
		case m[3] != "" && comment == "":
			return "", fmt.Errorf("values.yaml: %s has no comment for the table", name)
		case m[3] != "":
			fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", name, m[3], comment)
		}
		comment = ""
	}
	return table.String(), nil
}
