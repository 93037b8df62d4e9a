// Command nowd tells UDP and TCP clients the time of its host, and how far off that
// time may be.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"

	"nowd/cluster"
	"nowd/command"
	"nowd/config"
	"nowd/query"
	"nowd/service"
)

// version is that of the binary, the image and the charts. After a change here run "go
// test -run Version -update .", which writes it to the other places. A build may set
// another version.
var version = "0.1.0"

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run runs the command that args name. It returns the exit status.
func run(args, environ []string, stdout, stderr io.Writer) int {
	return program().Run(args, environ, stdout, stderr)
}

// program returns the commands of nowd.
func program() *command.Program {
	return &command.Program{
		Name:    "nowd",
		About:   "nowd tells the time of its host, and how far off it may be, over UDP and TCP.",
		Default: "serve",
		Commands: []*command.Command{
			service.ServeCommand(version),
			&query.Command,
			&cluster.Command,
			&service.WaitCommand,
			&service.HealthcheckCommand,
			&config.Command,
			&versionCommand,
		},
		Text: `"nowd COMMAND -h" prints the flags, the exit status and examples of a command.
The settings are environment variables: "nowd config" prints them.

Examples:
  nowd               answer on port 3333, UDP and TCP
  nowd query         ask the nowd on this host
  nowd query -h      print the flags of query
`,
	}
}

// versionCommand is the command "nowd version".
var versionCommand = command.Command{
	Name:     "version",
	Summary:  "print the version",
	Text:     "Prints the version of nowd, and of the Go that built it.\n",
	Status:   "0  the version was printed\n1  the output could not be written\n2  a mistake on the command line\n",
	Examples: "nowd version\n",
	New: func(*flag.FlagSet) command.Func {
		return func(c *command.Call) int {
			fmt.Fprintln(c.Stdout, "nowd", version, runtime.Version())
			return command.OK
		}
	},
}
