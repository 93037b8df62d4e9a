package service

import (
	"errors"
	"flag"
	"fmt"
	"os/signal"
	"syscall"

	"nowd/command"
	"nowd/config"
)

// exitSignal is added to the number of the signal that interrupts a shutdown.
const exitSignal = 128

// ServeCommand returns the command "nowd serve" of a version of nowd.
func ServeCommand(version string) *command.Command {
	return &command.Command{
		Name:    "serve",
		Summary: "answer clients",
		Text: `Answers clients until a signal ends it. The settings are environment variables:
"nowd config" prints them. By default nowd answers on port 3333 (UDP and TCP), and
serves /live, /ready, /metrics and a page on port 8086.

On SIGTERM, SIGINT or SIGHUP nowd sends the answers that it owes and exits. A
second SIGTERM or SIGINT ends it at once. Under nohup(1) it ignores SIGHUP.
`,
		Status: `0      a signal ended nowd
1      an event loop failed
2      a mistake on the command line or in a setting
128+n  signal n came during the shutdown
`,
		Examples: `nowd
NOWD_NTP_LISTEN=:10123 NOWD_LOOPS=auto nowd serve
`,
		New: func(*flag.FlagSet) command.Func {
			return func(c *command.Call) int { return serve(c, version) }
		},
	}
}

// serve serves until a signal ends it. It returns the exit status.
func serve(call *command.Call, version string) int {
	c, err := config.Load(call.Environ)
	if err != nil {
		fmt.Fprintln(call.Stderr, err)
		return command.Usage
	}
	// If standard error is a pipe without a reader, SIGPIPE would end the process.
	signal.Ignore(syscall.SIGPIPE)
	lines := NewLogWriter(call.Stderr, c.NewLogger)
	log := c.NewLogger(lines)
	for _, w := range config.Warnings(call.Environ) {
		log.Warn(w.Text, "variable", w.Variable)
	}
	s, err := New(c, version, log, lines)
	if err != nil {
		lines.Close() // writes the warnings before the error
		fmt.Fprintln(call.Stderr, err)
		return command.Usage
	}
	defer lines.Close()
	var interrupted Interrupted
	switch err := s.Run(); {
	case errors.As(err, &interrupted):
		return exitSignal + int(interrupted.Signal)
	case err != nil:
		log.Error("an event loop failed", "error", err)
		return command.Failed
	}
	return command.OK
}
