package config

import (
	"flag"
	"fmt"

	"nowd/command"
)

// Command is the command "nowd config".
var Command = command.Command{
	Name:    "config",
	Summary: "print the settings, and the mistakes in them",
	Text: `Prints every setting with its value in this environment. Shells and
"docker run --env-file" can read the output. Prints mistakes and unknown NOWD_
variables to standard error. Does not look up host names, files and interfaces:
"nowd" does so when it starts.
`,
	Status: `0  the settings have no mistake
1  the output could not be written
2  a mistake on the command line or in a setting
`,
	Examples: `nowd config
NOWD_TCP_LISTEN=off nowd config >nowd.env
`,
	New: func(*flag.FlagSet) command.Func { return printSettings },
}

// printSettings prints the settings, and what is wrong with them.
func printSettings(c *command.Call) int {
	_, err := Load(c.Environ)
	if err != nil {
		fmt.Fprintln(c.Stderr, err)
	}
	Print(c.Stdout, c.Environ)
	for _, w := range Warnings(c.Environ) {
		fmt.Fprintf(c.Stderr, "%s: %s\n", w.Variable, w.Text)
	}
	if err != nil {
		return command.Usage
	}
	return command.OK
}
