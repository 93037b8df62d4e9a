package main

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestChartKnowsTheSettings holds the chart's schema, and the defaults in its
// README, to the struct's tags. The chart has each setting under its own name,
// except a listener's address, which it makes of a port.
func TestChartKnowsTheSettings(t *testing.T) {
	text, err := os.ReadFile("helm/nowd/values.schema.json")
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
	readme, err := os.ReadFile("helm/nowd/README.md")
	if err != nil {
		t.Fatal(err)
	}

	var ports, names []string
	defaults := make(map[string]string)
	for _, s := range settings() {
		defaults[s.name] = s.def
		listener, ok := strings.CutSuffix(s.name, "_LISTEN")
		if !ok {
			names = append(names, s.name)
			continue
		}
		port := strings.ToLower(strings.TrimPrefix(listener, "NOWD_"))
		ports = append(ports, port)
		if row := "| `ports." + port + "` | `" + strings.TrimPrefix(s.def, ":") + "` |"; !strings.Contains(string(readme), row) {
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
