package config

import (
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Setting describes one setting: the tags of its field in Config.
type Setting struct {
	Name        string // the environment variable
	Default     string
	Description string // what the setting does
	Allowed     string // the allowed values, in words

	field string // of Config
	min   string // the lowest number or duration allowed; empty if there is none
}

// Settings returns all settings, in the order of Config.
func Settings() []Setting {
	var all []Setting
	for f := range reflect.TypeFor[Config]().Fields() {
		t := f.Tag
		all = append(all, Setting{
			Name: t.Get("env"), Default: t.Get("envDefault"), Description: t.Get("desc"), Allowed: t.Get("want"),
			field: f.Name, min: t.Get("min"),
		})
	}
	return all
}

// value returns the value in vars, or the default if the variable is unset or empty.
func (s Setting) value(vars map[string]string) string {
	if v := vars[s.Name]; v != "" {
		return v
	}
	return s.Default
}

// Print writes all settings of environ to w, in a form that shells and "docker run
// --env-file" read. It also prints values that are not allowed.
func Print(w io.Writer, environ []string) {
	vars := env.ToMap(environ)
	for _, s := range Settings() {
		fmt.Fprintf(w, "# %s\n# allowed: %s; default: %s\n%s=%s\n", s.Description, s.Allowed, s.Default, s.Name, s.value(vars))
	}
}

// Warning is about a variable that is probably a mistake, but does not keep nowd from
// serving.
type Warning struct {
	Variable string
	Text     string
}

// Warnings returns a warning for each unknown variable that looks like a setting.
func Warnings(environ []string) []Warning {
	var warnings []Warning
	for _, name := range unknown(environ) {
		warnings = append(warnings, Warning{name, "no such setting"})
	}
	return warnings
}

// isZone reports whether package time accepts a value of TZ without its colon: the name of
// a zone, the absolute path of a zone file, or nothing. For other values package time
// silently uses UTC.
func isZone(zone string) bool {
	if !strings.HasPrefix(zone, "/") {
		_, err := time.LoadLocation(zone)
		return err == nil
	}
	if info, err := os.Stat(zone); err != nil || !info.Mode().IsRegular() {
		return false // opening a named pipe would block
	}
	f, err := os.Open(zone)
	if err != nil {
		return false
	}
	defer f.Close()
	const maxZoneFile = 10 << 20 // package time refuses longer files
	data, err := io.ReadAll(io.LimitReader(f, maxZoneFile+1))
	if err != nil || len(data) > maxZoneFile {
		return false
	}
	_, err = time.LoadLocationFromTZData(zone, data)
	return err == nil
}

// unknown returns the variables that begin with NOWD_ and are no settings, except those
// that Kubernetes sets for Services whose names begin with nowd.
func unknown(environ []string) []string {
	known := make(map[string]bool)
	for _, s := range Settings() {
		known[s.Name] = true
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(env.ToMap(environ))) {
		rest, ok := strings.CutPrefix(name, "NOWD_")
		if ok && !known[name] && !strings.HasPrefix(rest, "SERVICE_") && !strings.HasPrefix(rest, "PORT") &&
			!strings.Contains(rest, "_PORT") && !strings.Contains(rest, "_SERVICE_") {
			names = append(names, name)
		}
	}
	return names
}
