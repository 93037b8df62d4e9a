package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the version to where it is not yet, instead of complaining")

// TestVersionIsTheSameEverywhere holds the versions of the image and the charts, and
// those in the documents, to that of the binary.
func TestVersionIsTheSameEverywhere(t *testing.T) {
	places := map[string]*regexp.Regexp{
		"Dockerfile":              regexp.MustCompile(`(?m)^(ARG VERSION=)(.+)$`),
		"helm/nowd/Chart.yaml":    regexp.MustCompile(`(?m)^(version: |appVersion: )(.+)$`),
		"helm/example/Chart.yaml": regexp.MustCompile(`(?m)^(version: )(.+)$`),
	}
	documents := regexp.MustCompile("(?m)(localhost/nowd:|^    version: )([^ \"`\n]+)")
	for _, pattern := range []string{"*.md", "docs/*.md", "helm/*/*.md", "deploy/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			places[file] = documents
		}
	}
	for file, place := range places {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if place != documents && !place.Match(text) {
			t.Errorf("%s has no version", file)
		}
		switch want := place.ReplaceAll(text, []byte("${1}"+version)); {
		case bytes.Equal(want, text):
		case *update:
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		default:
			t.Errorf("%s has another version than %s; go test -run Version -update . writes it", file, version)
		}
	}
	changes, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	if newest := regexp.MustCompile(`(?m)^## (.+)$`).FindSubmatch(changes); newest == nil || string(newest[1]) != version {
		t.Errorf("the newest version in CHANGELOG.md is %q, want %s", newest, version)
	}
}

func TestCommandLine(t *testing.T) {
	for _, c := range []struct {
		args     []string
		code     int
		out, err string
	}{
		{[]string{"version"}, 0, "nowd ", ""},
		{[]string{"help"}, 0, "Usage", ""},
		{[]string{"--help"}, 0, "Usage", ""},
		{[]string{"sing"}, 2, "", `unknown command "sing"`},
		{[]string{"version", "x"}, 2, "", "does not take the argument"},
		{[]string{"query", "-proto", "carrier-pigeon"}, 2, "", "want one of "},
		{[]string{"query", "-n", "-1"}, 2, "", "-n=-1"},
		{[]string{"query", "-i", "-1s"}, 2, "", "-i=-1s"},
		{[]string{"query", "-ask", "nicely"}, 2, "", "want one of datetime"},
		{[]string{"query", "127.0.0.1", "-n", "2"}, 2, "", "flags come before hosts"},
		{[]string{"query", "host:nowhere"}, 2, "", "host:nowhere"},
		{[]string{"query", "-x"}, 2, "", "usage"},
		{[]string{"cluster", "-x"}, 2, "", "usage"},
		{[]string{"cluster"}, 2, "", "TARGET"},
		{[]string{"query", "-h"}, 0, "", "usage"},
		{[]string{"wait", "-h"}, 0, "", "usage"},
		{[]string{"wait", "-x"}, 2, "", "usage"},
		{[]string{"wait", "for", "me"}, 2, "", "no arguments"},
		{[]string{"wait", "-timeout", "-1s"}, 2, "", "-timeout=-1s"},
		{[]string{"wait", "-max-error", "0s"}, 2, "", "-max-error=0s"},
		{[]string{"wait", "-timeout", "60ms", "-clockbound", "/no/such/segment"}, 1, "", "not within 60ms: open /no/such/segment: no such file"},
	} {
		var out, errs bytes.Buffer
		if code := run(c.args, nil, &out, &errs); code != c.code || !strings.Contains(out.String(), c.out) || !strings.Contains(errs.String(), c.err) {
			t.Errorf("%q: status %d, %q, %q", c.args, code, out.String(), errs.String())
		}
	}
}

func TestConfigShowsSettingsAndMistakes(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"config"}, []string{"NOWD_LOOPS=3", "NOWD_FOO=1"}, &out, &errs); code != 0 || !strings.Contains(out.String(), "\nNOWD_LOOPS=3\n") {
		t.Errorf("status %d, %q", code, out.String())
	}
	if !strings.Contains(errs.String(), "NOWD_FOO: no such setting") {
		t.Errorf("%q", errs.String())
	}
	if code := run([]string{"config"}, []string{"NOWD_LOOPS=none"}, &out, &errs); code != 2 || !strings.Contains(errs.String(), `NOWD_LOOPS="none": want`) {
		t.Errorf("status %d, %q", code, errs.String())
	}
}

func TestUnknownHostIsAMistakeInTheSetting(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run([]string{"serve"}, []string{"NOWD_TCP_LISTEN=no-such-host.invalid:3333"}, &out, &errs); code != 2 || !strings.Contains(errs.String(), `NOWD_TCP_LISTEN="no-such-host.invalid:3333": `) {
		t.Errorf("status %d, %q", code, errs.String())
	}
}
