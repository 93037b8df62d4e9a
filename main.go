// Command nowd answers what time it is on this host, and how sure it is of
// that, to whoever sends it a datagram or a line.
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
)

// version is set by the build of an image; otherwise the module's is told.
var version string

const usage = `nowd tells the time of its host over UDP and TCP.

Usage:
  nowd [serve]                         serve, as the environment says
  nowd query [flags] [HOST[:PORT]]...  ask hosts for the time, and compare them
  nowd healthcheck                     ask the nowd of this environment whether it is alive
  nowd config                          show the settings, as the environment has them
  nowd version

The settings are environment variables; nowd config lists them.
`

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run runs a command and returns its exit status: 0; 1 if it failed; 2 if it
// was told something that it does not understand.
func run(args, environ []string, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	commands := map[string]func() int{
		"serve":       func() int { return serve(environ, stderr) },
		"healthcheck": func() int { return healthcheck(environ, stderr) },
		"config":      func() int { return showConfig(environ, stdout, stderr) },
		"version":     func() int { fmt.Fprintln(stdout, "nowd", versionString(), runtime.Version()); return 0 },
		"help":        func() int { fmt.Fprint(stdout, usage); return 0 },
	}
	for _, name := range []string{"-h", "-help", "--help"} {
		commands[name] = commands["help"]
	}
	switch do, ok := commands[command]; {
	case command == "query":
		return query(args, stdout, stderr)
	case !ok:
		fmt.Fprintf(stderr, "nowd: unknown command %q\n\n%s", command, usage)
		return 2
	case len(args) > 0:
		fmt.Fprintf(stderr, "nowd: %s takes no arguments, but got %q\n", command, args[0])
		return 2
	default:
		return do()
	}
}

func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
