// Command nowd answers what time it is on this host, and how sure it is of
// that, to whoever sends it a datagram or a line.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"nowd/cluster"
	"nowd/config"
	"nowd/health"
	"nowd/query"
	"nowd/service"
)

// version is that of the binary, the image and the chart. Change it here, and run
// "go test -run Version -update ." to have it everywhere. A build may set another.
var version = "0.1.0"

const usage = `nowd tells the time of its host over UDP and TCP.

Usage:
  nowd [serve]                         serve, as the environment says
  nowd query [flags] [HOST[:PORT]]...  ask hosts for the time, and compare them
  nowd cluster [flags] TARGET...       show how far the clocks of a cluster are apart, and which are wrong
  nowd wait [flags]                    wait until the clock of this host is trusted
  nowd healthcheck [-ready]            ask the nowd of this environment whether it is alive, or ready
  nowd config                          show the settings, as the environment has them
  nowd version                         show the version of nowd, and of the Go that built it
  nowd help                            show this

The settings are environment variables; nowd config lists them.
The flags of query, cluster and wait are shown by -h after the command.
`

// The exit statuses of all commands.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2   // a mistake on the command line or in a setting
	exitSignal = 128 // and the number of the signal that cut a stop short
)

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

// run runs a command and returns its exit status.
func run(args, environ []string, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	switch command {
	case "query":
		return query.Main(args, stdout, stderr)
	case "cluster":
		return cluster.Main(args, stdout, stderr)
	case "wait":
		return service.WaitMain(args, environ, stdout, stderr)
	}
	commands := map[string]func() int{
		"serve":       func() int { return serve(environ, stderr) },
		"healthcheck": func() int { return healthcheck(environ, health.Live, stderr) },
		"config":      func() int { return showConfig(environ, stdout, stderr) },
		"version":     func() int { fmt.Fprintln(stdout, "nowd", version, runtime.Version()); return exitOK },
		"help":        func() int { fmt.Fprint(stdout, usage); return exitOK },
	}
	for _, name := range []string{"-h", "-help", "--help"} {
		commands[name] = commands["help"]
	}
	if command == "healthcheck" && len(args) == 1 && args[0] == "-ready" {
		return healthcheck(environ, health.Ready, stderr)
	}
	switch do, ok := commands[command]; {
	case !ok:
		fmt.Fprintf(stderr, "nowd: unknown command %q\n\n%s", command, usage)
		return exitUsage
	case len(args) > 0:
		fmt.Fprintf(stderr, "nowd: %s does not take the argument %q\n", command, args[0])
		return exitUsage
	default:
		return do()
	}
}

// serve serves until a signal ends it.
func serve(environ []string, stderr io.Writer) int {
	c, err := config.Load(environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	// Go ends a process that writes to standard error when nobody reads it any more,
	// but not one that ignores the signal.
	signal.Ignore(syscall.SIGPIPE)
	lines := service.NewLogWriter(stderr, c.NewLogger)
	log := c.NewLogger(lines)
	for _, w := range config.Warnings(environ) {
		log.Warn(w.Text, "variable", w.Variable)
	}
	s, err := service.New(c, version, log, lines)
	if err != nil {
		lines.Close() // first the warnings
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	defer lines.Close()
	var interrupted service.Interrupted
	switch err := s.Run(); {
	case errors.As(err, &interrupted):
		return exitSignal + int(interrupted.Signal)
	case err != nil:
		log.Error("cannot go on", "error", err)
		return exitFailed
	}
	return exitOK
}

// healthcheck asks the nowd that runs with the settings of environ whether it is
// alive, or ready. It is for images that have nothing else to ask with, and for
// probes of a health endpoint that only the pod itself reaches.
func healthcheck(environ []string, path string, stderr io.Writer) int {
	c, err := config.Load(environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	if c.Health.Off() {
		fmt.Fprintln(stderr, "nowd healthcheck: NOWD_HEALTH_LISTEN is off")
		return exitFailed
	}
	if err := health.Ask(path, c.Health.Reachable(), c.LivenessTimeout); err != nil {
		fmt.Fprintln(stderr, "nowd healthcheck:", err)
		return exitFailed
	}
	return exitOK
}

// showConfig prints the settings, and what is wrong with them.
func showConfig(environ []string, stdout, stderr io.Writer) int {
	_, err := config.Load(environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
	}
	config.Print(stdout, environ)
	for _, w := range config.Warnings(environ) {
		fmt.Fprintf(stderr, "%s: %s\n", w.Variable, w.Text)
	}
	if err != nil {
		return exitUsage
	}
	return exitOK
}
