package command

import (
	"bytes"
	"errors"
	"flag"
	"strings"
	"testing"
	"time"
)

// sleeper is a program with one command, which prints its flags and arguments.
func sleeper() *Program {
	return &Program{
		Name: "prog", About: "prog sleeps.", Default: "sleep", Text: "That is all.\n",
		Commands: []*Command{{
			Name: "sleep", Arguments: "[WHERE]", Summary: "sleep", Text: "Sleeps.\n", Status: "0  slept\n1  did not\n", Examples: "prog sleep\n",
			New: func(flags *flag.FlagSet) Func {
				var long, nap time.Duration
				var times int
				var side string
				DurationVar(flags, &long, "long", 0, "the `time`")
				PositiveDurationVar(flags, &nap, "nap", 0, "the `time`")
				CountVar(flags, &times, "times", 2, "the `number`")
				ChoiceVar(flags, &side, "side", "left", "the `side`", "left", "right")
				return func(c *Call) int {
					_, _ = c.Stdout.Write([]byte(strings.Join(append(c.Args, long.String(), nap.String(), side), " ")))
					return times
				}
			},
		}},
	}
}

func runProgram(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = sleeper().Run(args, nil, &out, &errs)
	return status, out.String(), errs.String()
}

func TestCommandRunsWithItsFlagsAndArguments(t *testing.T) {
	for args, want := range map[string]string{
		"": "0s 0s left", "sleep": "0s 0s left",
		"sleep -long 1m -nap=2ms -side right here": "here 1m0s 2ms right",
	} {
		if status, out, errs := runProgram(strings.Fields(args)...); status != 2 || out != want || errs != "" {
			t.Errorf("%q: status %d, %q, %q, want %q", args, status, out, errs, want)
		}
	}
	if status, _, _ := runProgram("sleep", "-times", "0"); status != 0 {
		t.Errorf("status %d, want that of the command", status)
	}
}

func TestMistakeIsReportedWithoutRunningTheCommand(t *testing.T) {
	for args, want := range map[string]string{
		"dream":               `prog: unknown command "dream"; want one of sleep, help`,
		"-long":               `prog: unknown command "-long"; want one of sleep, help`,
		"sleep -deep":         "prog sleep: unknown flag -deep; want one of -long, -nap, -side, -times",
		"sleep -long -1s":     `prog sleep: invalid value "-1s" for flag -long: want a time of 0 or more, such as 500ms or 2m`,
		"sleep -long 5":       `prog sleep: invalid value "5" for flag -long: want a time of 0 or more, such as 500ms or 2m`,
		"sleep -nap 0":        `prog sleep: invalid value "0" for flag -nap: want a time above 0, such as 500ms or 2m`,
		"sleep -times -1":     `prog sleep: invalid value "-1" for flag -times: want a whole number of 0 or more`,
		"sleep -side up":      `prog sleep: invalid value "up" for flag -side: want one of left, right`,
		"sleep here -times 1": `prog sleep: "-times": flags come before [WHERE]`,
		"help me":             `prog help: unknown command "me"; want one of sleep, help`,
		"help sleep sleep":    `prog help: ["sleep" "sleep"]: want one COMMAND at most`,
	} {
		status, out, errs := runProgram(strings.Fields(args)...)
		name, _, _ := strings.Cut(want, ":")
		if want += "\n\"" + name + " -h\" prints the help.\n"; status != Usage || out != "" || errs != want {
			t.Errorf("%q: status %d, %q, %q, want %q", args, status, out, errs, want)
		}
	}
}

// TestMistakeIsShortAndPrintable: the name of an unknown flag, and of one without a value,
// comes from package flag, which does not quote it.
func TestMistakeIsShortAndPrintable(t *testing.T) {
	const help = "\n\"prog sleep -h\" prints the help.\n"
	for arg, want := range map[string]string{
		"-\x1b[2J":  `"unknown flag -\x1b[2J; want one of -long, -nap, -side, -times"`,
		"--=\n\xff": `"bad flag syntax: --=\n\xff"`,
		"-\u202eé":  `"unknown flag -\u202eé; want one of -long, -nap, -side, -times"`,
	} {
		if status, _, errs := runProgram("sleep", arg); status != Usage || errs != "prog sleep: "+want+help {
			t.Errorf("%q: status %d, %q, want %q", arg, status, errs, want)
		}
	}
	status, _, errs := runProgram("sleep", "-"+strings.Repeat("a\n", 50_000))
	if status != Usage || len(errs) > 2000 || !strings.HasSuffix(errs, "; want one of -long, -nap, -side, -times\""+help) {
		t.Errorf("status %d, %d bytes, %q", status, len(errs), errs[max(0, len(errs)-200):])
	}
}

// fullDisk is a writer that fails.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestLostOutputIsAFailure(t *testing.T) {
	for args, want := range map[string]int{"help": Failed, "sleep -h": Failed, "sleep -times 0": Failed, "sleep -times 2": 2} {
		var errs bytes.Buffer
		const message = "prog: cannot write the output: no space left on device\n"
		if status := sleeper().Run(strings.Fields(args), nil, fullDisk{}, &errs); status != want || errs.String() != message {
			t.Errorf("%q: status %d, %q, want %d, %q", args, status, errs.String(), want, message)
		}
	}
}

func TestHelpOfACommand(t *testing.T) {
	const want = `Usage:
  prog sleep [flags] [WHERE]

Sleeps.

Flags:
  -long time
    	the time (default 0s)
  -nap time
    	the time
  -side side
    	the side: left, right (default left)
  -times number
    	the number (default 2)

Exit status:
  0  slept
  1  did not

Examples:
  prog sleep
`
	for _, args := range []string{"sleep -h", "sleep -help", "sleep --help", "help sleep", "sleep -times 3 -h"} {
		if status, out, errs := runProgram(strings.Fields(args)...); status != OK || out != want || errs != "" {
			t.Errorf("%q: status %d, %q, %q", args, status, out, errs)
		}
	}
}

func TestHelpOfTheProgram(t *testing.T) {
	const want = `prog sleeps.

Usage:
  prog [COMMAND] [flags] [arguments]

Commands:
  sleep  sleep (the default)
  help   print the list of commands, or the help of one

That is all.
`
	for _, args := range []string{"help", "-h", "-help", "--help"} {
		if status, out, errs := runProgram(args); status != OK || out != want || errs != "" {
			t.Errorf("%q: status %d, %q, %q", args, status, out, errs)
		}
	}
}
