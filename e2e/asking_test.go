//go:build linux

package e2e_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// programs are the programs of the clients in docs/asking.md.
var programs = map[string]string{
	"OpenBSD netcat":     "nc.openbsd",
	"traditional netcat": "nc.traditional",
	"ncat":               "ncat",
	"busybox nc":         "busybox",
	"socat":              "socat",
	"curl":               "curl",
	"bash":               "bash",
	"nowd":               "nowd",
}

// TestClientsInTheDocumentShowTheTime runs each command in the table of clients in docs/asking.md.
func TestClientsInTheDocumentShowTheTime(t *testing.T) {
	t.Parallel()
	n := start(t)
	shown := make(map[string]bool)
	for _, row := range tableOf(t, "../docs/asking.md", "| client | over | command |") {
		shown[row[0]] = true
		program, known := programs[row[0]]
		if !known {
			t.Errorf("the client %q has no program", row[0])
			continue
		}
		c := client{name: row[0], program: program, command: commandOf(t, row[2]), verify: showsTheTime}
		c.hasty = strings.Contains(c.command, ".2") // seconds that it waits
		if program == "nowd" {
			c.program = binary
		}
		t.Run(row[0]+" over "+row[1], func(t *testing.T) {
			t.Parallel()
			c.check(t, n)
		})
	}
	for name := range programs {
		if !shown[name] {
			t.Errorf("the table has no command of %s", name)
		}
	}
}

// TestCommandsForOtherProtocolsAreTried: those in docs/asking.md are among dialectClients, which other tests run.
func TestCommandsForOtherProtocolsAreTried(t *testing.T) {
	t.Parallel()
	for _, row := range tableOf(t, "../docs/asking.md", "| protocol | enable with | ask with |") {
		command, tried := commandOf(t, row[2]), false
		for _, c := range dialectClients {
			tried = tried || strings.Replace(c.command, "nc.openbsd", "nc", 1) == command
		}
		if !tried {
			t.Errorf("no test runs %q", command)
		}
	}
}

// tableOf returns the cells of a table in a document, row by row. header is its first line.
func tableOf(t *testing.T, document, header string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "\n"+header+"\n")
	table, _, _ = strings.Cut(table, "\n\n")
	if !found {
		t.Fatalf("%s has no table %q", document, header)
	}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(line, "| \n"), " | ")
		if strings.HasPrefix(line, "|---") {
			continue
		}
		if len(cells) != strings.Count(header, " | ")+1 {
			t.Fatalf("%s: %d cells in %q", document, len(cells), line)
		}
		rows = append(rows, cells)
	}
	return rows
}

// commandOf returns the command in a cell, for a nowd on this host.
func commandOf(t *testing.T, cell string) string {
	t.Helper()
	command, ok := strings.CutPrefix(cell, "`")
	command, ok2 := strings.CutSuffix(command, "`")
	if !ok || !ok2 || strings.Contains(command, "`") {
		t.Fatalf("%q is not one command", cell)
	}
	return strings.NewReplacer(`\|`, "|", "HOST", "127.0.0.1").Replace(command)
}

var timeShown = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{6}`)

// showsTheTime checks the first time in what a client shows.
func showsTheTime(shown string, s span) error {
	at, err := time.Parse(time.DateTime+".000000", strings.Replace(timeShown.FindString(shown), "T", " ", 1))
	if err != nil {
		return errors.New("no time is shown")
	}
	return s.check(at, time.Microsecond)
}
