package main

import (
	"bytes"
	"flag"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the version to the files that have another one, instead of failing")

// TestVersionIsTheSameEverywhere compares the versions of the image, of the charts and in
// the documents with that of the binary.
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
			t.Errorf("the version in %s is not %s; run go test -run Version -update .", file, version)
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

// commandNames are the names of all commands.
var commandNames = []string{"serve", "query", "cluster", "wait", "healthcheck", "config", "version", "help"}

// badSettings is an environment with a mistake, which help and version ignore.
var badSettings = []string{"NOWD_LOOPS=none", "NOWD_UDP_LISTEN=nowhere"}

// output is what a run of the program printed, and its exit status.
type output struct {
	status         int
	stdout, stderr string
}

func runIn(environ []string, args ...string) output {
	var stdout, stderr bytes.Buffer
	status := run(args, environ, &stdout, &stderr)
	return output{status, stdout.String(), stderr.String()}
}

func TestHelpListsEveryCommand(t *testing.T) {
	help := runIn(badSettings, "help")
	for _, name := range commandNames {
		if !regexp.MustCompile(`(?m)^  ` + name + ` +[a-z].+$`).MatchString(help.stdout) {
			t.Errorf("%s has no line in\n%s", name, help.stdout)
		}
	}
	_, list, _ := strings.Cut(help.stdout, "Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	if n := strings.Count(list, "\n") + 1; n != len(commandNames) {
		t.Errorf("%d commands are listed, want %d:\n%s", n, len(commandNames), list)
	}
	for _, args := range []string{"help", "-h", "-help", "--help"} {
		if got := runIn(badSettings, args); got != help || got.status != 0 || got.stderr != "" {
			t.Errorf("nowd %s: %+v, want %+v", args, got, help)
		}
	}
}

// TestEveryCommandHasHelp: on standard output, with status 0, whatever the environment is.
func TestEveryCommandHasHelp(t *testing.T) {
	section := regexp.MustCompile(`(?s)^Usage:\n  nowd (\S+)[^\n]*\n\n[A-Z].+?\n(\nFlags:\n  .+)?\nExit status:\n  0 .+\n  2  .+\n\nExamples:\n  .*nowd.*\n$`)
	flags := map[string][]string{
		"query": {"-ask", "-i", "-n", "-o", "-proto", "-timeout", "-w"}, "cluster": {"-i", "-listen", "-max-skew", "-o", "-threshold", "-timeout", "-w"},
		"wait": {"-clockbound", "-max-error", "-timeout"}, "healthcheck": {"-ready"},
	}
	for _, name := range commandNames {
		help := runIn(badSettings, "help", name)
		m := section.FindStringSubmatch(help.stdout)
		if m == nil || m[1] != name || help.status != 0 || help.stderr != "" {
			t.Errorf("nowd help %s: %+v", name, help)
			continue
		}
		if (m[2] != "") != (flags[name] != nil) {
			t.Errorf("nowd help %s shows the flags %q", name, m[2])
		}
		for _, f := range flags[name] {
			if !regexp.MustCompile(`(?m)^  ` + f + `(?: .*)?(?:\n    )?\t.+`).MatchString(m[2]) {
				t.Errorf("nowd help %s does not explain %s:\n%s", name, f, help.stdout)
			}
		}
		for _, args := range [][]string{{name, "-h"}, {name, "-help"}, {name, "--help"}} {
			if got := runIn(badSettings, args...); got != help {
				t.Errorf("nowd %q: %+v, want %+v", args, got, help)
			}
		}
	}
}

// TestHelpShowsDefaults: of the flags that have one.
func TestHelpShowsDefaults(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"query", "the protocol: daytime, daytime+tcp, http, ntp, tcp, time, time+tcp, udp (default udp)"},
		{"query", "the time to wait for an answer (default 1s)"},
		{"cluster", "to contradict each other (default 10ms)"},
		{"wait", "at most this time (default NOWD_CLOCK_MAX_ERROR)"},
	} {
		if got := runIn(nil, c.name, "-h").stdout; !strings.Contains(got, c.want) {
			t.Errorf("no %q in\n%s", c.want, got)
		}
	}
}

// TestExamplesInHelpHaveKnownFlags: each example runs its own command, with flags that it
// has.
func TestExamplesInHelpHaveKnownFlags(t *testing.T) {
	example := regexp.MustCompile(`^(?:[A-Z_]+=\S+ )*nowd(?: ([^&>\n]*))?`)
	p := program()
	for _, c := range p.Commands {
		for line := range strings.Lines(c.Examples) {
			m := example.FindStringSubmatch(line)
			if m == nil {
				t.Errorf("%s: %q is no command line", c.Name, line)
				continue
			}
			args := strings.Fields(m[1])
			if len(args) == 0 {
				args = []string{p.Default}
			}
			flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
			c.New(flags)
			if err := flags.Parse(args[1:]); args[0] != c.Name || err != nil {
				t.Errorf("%s: %q: %v", c.Name, line, err)
			}
		}
	}
}

func TestVersionIsACommandAndAFlag(t *testing.T) {
	want := output{0, "nowd " + version + " " + runtime.Version() + "\n", ""}
	for _, args := range []string{"version", "-version", "--version"} {
		if got := runIn(badSettings, args); got != want {
			t.Errorf("nowd %s: %+v, want %+v", args, got, want)
		}
	}
}

// TestMistakesOnTheCommandLine: they say what is wrong, what is allowed, and how to get
// help.
func TestMistakesOnTheCommandLine(t *testing.T) {
	const all = "want one of serve, query, cluster, wait, healthcheck, config, version, help"
	for _, c := range []struct{ args, command, want string }{
		{"sing", "", `unknown command "sing"; ` + all},
		{"-x", "", `unknown command "-x"; ` + all},
		{"-v", "", all},
		{"help sing", " help", `unknown command "sing"; ` + all},
		{"help query wait", " help", "want one COMMAND at most"},
		{"help -x", " help", "unknown flag -x; want no flags"},
		{"serve now", " serve", `"now": serve takes no arguments`},
		{"serve -x", " serve", "unknown flag -x; want no flags"},
		{"config all", " config", `"all": config takes no arguments`},
		{"version 2", " version", `"2": version takes no arguments`},
		{"--version 2", " version", `"2": version takes no arguments`},
		{"healthcheck /live", " healthcheck", `"/live": healthcheck takes no arguments`},
		{"healthcheck -live", " healthcheck", "unknown flag -live; want one of -ready"},
		{"query -proto carrier-pigeon", " query", `invalid value "carrier-pigeon" for flag -proto: want one of daytime, `},
		{"query 127.0.0.1 -n 2", " query", `"-n": flags come before [HOST[:PORT]]...`},
		{"query host:nowhere", " query", `"host:nowhere": want a port`},
		{"cluster", " cluster", "want a TARGET"},
		{"wait -x", " wait", "unknown flag -x; want one of -clockbound, -max-error, -timeout"},
		{"wait for me", " wait", `"for": wait takes no arguments`},
		{"wait -timeout -1s", " wait", `invalid value "-1s" for flag -timeout: want a time of 0 or more`},
		{"wait -max-error 0s", " wait", `invalid value "0s" for flag -max-error: want a time above 0`},
	} {
		got := runIn(badSettings, strings.Fields(c.args)...)
		name := "nowd" + c.command
		if got.status != 2 || got.stdout != "" || !strings.HasPrefix(got.stderr, name+": ") || !strings.Contains(got.stderr, c.want) ||
			!strings.HasSuffix(got.stderr, "\n\""+name+" -h\" prints the help.\n") || strings.Count(got.stderr, "\n") != 2 {
			t.Errorf("nowd %s: %+v, want %q", c.args, got, c.want)
		}
	}
}

func TestMistakesInSettingsEndCommands(t *testing.T) {
	for _, name := range []string{"", "serve", "wait", "healthcheck", "config"} {
		got := runIn(badSettings, strings.Fields(name)...)
		if got.status != 2 || !strings.Contains(got.stderr, `NOWD_LOOPS="none": want `) || !strings.Contains(got.stderr, `NOWD_UDP_LISTEN="nowhere": want `) {
			t.Errorf("nowd %s: %+v", name, got)
		}
	}
}

func TestWaitSaysWhatIsMissing(t *testing.T) {
	got := runIn(nil, "wait", "-timeout", "60ms", "-clockbound", "/no/such/segment")
	if want := "nowd wait: timed out after 60ms: open /no/such/segment: no such file or directory\n"; got.status != 1 || got.stderr != want || got.stdout != "" {
		t.Errorf("%+v, want %q", got, want)
	}
}

func TestHealthcheckSaysWhatIsWrong(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	for setting, want := range map[string]string{
		"off": "nowd healthcheck: NOWD_HEALTH_LISTEN is off: there is no endpoint to ask\n",
		addr:  "nowd healthcheck: /live: dial tcp " + addr + ": connect: connection refused\n",
	} {
		if got := runIn([]string{"NOWD_HEALTH_LISTEN=" + setting}, "healthcheck"); got != (output{1, "", want}) {
			t.Errorf("%s: %+v, want %q", setting, got, want)
		}
	}
}

func TestConfigShowsSettingsAndMistakes(t *testing.T) {
	got := runIn([]string{"NOWD_LOOPS=3", "NOWD_FOO=1"}, "config")
	if got.status != 0 || !strings.Contains(got.stdout, "\nNOWD_LOOPS=3\n") || got.stderr != "NOWD_FOO: no such setting\n" {
		t.Errorf("%+v", got)
	}
	got = runIn([]string{"NOWD_LOOPS=none"}, "config")
	if got.status != 2 || !strings.Contains(got.stdout, "\nNOWD_LOOPS=none\n") || !strings.HasPrefix(got.stderr, `NOWD_LOOPS="none": want `) {
		t.Errorf("%+v", got)
	}
}

func TestUnknownHostIsAMistakeInTheSetting(t *testing.T) {
	got := runIn([]string{"NOWD_TCP_LISTEN=no-such-host.invalid:3333"}, "serve")
	if got.status != 2 || !strings.Contains(got.stderr, `NOWD_TCP_LISTEN="no-such-host.invalid:3333": `) {
		t.Errorf("%+v", got)
	}
}
