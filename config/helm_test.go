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
// except a listener's address, which it makes of a port.
func TestChartKnowsTheSettings(t *testing.T) {
	text, err := os.ReadFile("../helm/nowd/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	type object struct{ Properties map[string]json.RawMessage }
	var schema struct {
		Properties struct{ Ports, Settings object }
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
			continue // it takes capabilities and the host's network, so it is more than a setting
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

	// `NOWD_SHUTDOWN_TIMEOUT` (5s): a default; (10s in a Deployment) is the chart's own.
	for _, m := range regexp.MustCompile("`(NOWD_[A-Z_]+)` \\(([^ )]+)\\)").FindAllStringSubmatch(string(readme), -1) {
		if name, def := m[1], m[2]; def != defaults[name] {
			t.Errorf("the README says that the default of %s is %s, want %s", name, def, defaults[name])
		}
	}
}

// TestChartsMemoryHoldsItsConnections holds the memory limit of values.yaml to
// what the chart's number of connections can take, and UDP's receive buffers.
func TestChartsMemoryHoldsItsConnections(t *testing.T) {
	number := func(file, pattern string) int {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(pattern).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s has no %s", file, pattern)
		}
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	conns := number("../helm/nowd/templates/_settings.tpl", `"NOWD_TCP_MAX_CONNS" "([0-9]+)"`)
	limit := number("../helm/nowd/values.yaml", `(?s)limits:.*?memory: ([0-9]+)Mi`)
	const receiveBuffers = 2 << 20 // IPv4's and IPv6's
	if needed := int(tcp.MaxMemory(conns, 1, 1)) + receiveBuffers; limit<<20 < needed {
		t.Errorf("a limit of %dMi, and %d connections can take %.1f MiB", limit, conns, float64(needed)/(1<<20))
	}
}

// TestChartReadmeShowsTheValues holds the table in the chart's README to
// values.yaml, of which each value has a comment that starts with "# -- ".
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
		t.Error("the table in the chart's README is not that of values.yaml; go test ./config -run Readme -update writes it")
	}
}

// valuesTable makes the table. It reads the YAML that a values file has: a key
// a line, with its value there or, indented by two more, its keys below.
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
