package main

import (
	"bytes"
	"strings"
	"testing"
)

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
		{[]string{"version", "x"}, 2, "", "takes no arguments"},
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
