package service

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/term"

	"nowd/command"
	"nowd/config"
)

// WaitCommand is the command "nowd wait". SIGINT and SIGTERM end it early.
var WaitCommand = command.Command{
	Name:    "wait",
	Summary: "wait until the clock of this host is trusted",
	Text: `Waits until the clock of this host is trusted, and prints its error bound. The clock
is trusted if the kernel says that it is synchronised and the error bound is low
enough. With NOWD_UPSTREAM wait first compares the clock with these servers.

With -clockbound the status and the error bound in a ClockBound segment decide
instead. A nowd with NOWD_CLOCKBOUND writes one.

Prints what it waits for to standard error: on a terminal once a second, otherwise
once a minute.
`,
	Status: `0  the clock is trusted
1  the clock was not trusted before -timeout or a signal
2  a mistake on the command line or in a setting
`,
	Examples: `nowd wait -max-error 10ms -timeout 2m && exec my-database
nowd wait -clockbound /var/run/clockbound/shm0
`,
	New: func(flags *flag.FlagSet) command.Func {
		w, timeout := new(Wait), new(time.Duration)
		command.DurationVar(flags, timeout, "timeout", 0, "the `time` to wait; 0 is no limit")
		command.PositiveDurationVar(flags, &w.Limit, "max-error", 0, "trust a clock whose error bound is at most this `time` (default NOWD_CLOCK_MAX_ERROR)")
		flags.StringVar(&w.ClockBound, "clockbound", "", "the `path` of a ClockBound segment that decides, instead of the kernel and NOWD_UPSTREAM")
		return func(c *command.Call) int { return w.main(c, *timeout) }
	},
}

// main runs the command, and returns the exit status. A timeout of 0 is no limit.
func (w *Wait) main(call *command.Call, timeout time.Duration) int {
	c, err := config.Load(call.Environ)
	if err != nil {
		fmt.Fprintln(call.Stderr, err)
		return command.Usage
	}
	if w.Config = c; w.Limit == 0 {
		w.Limit = c.ClockMaxError
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("timed out after %v", timeout))
		defer cancel()
	}
	w.Progress = progressTo(call.Stderr)
	bound, err := w.Run(ctx)
	if err != nil {
		fmt.Fprintln(call.Stderr, "nowd wait:", err)
		return command.Failed
	}
	fmt.Fprintln(call.Stdout, "the clock is trusted: its error is at most", bound)
	return command.OK
}

// logInterval is the time between two lines about progress in a log.
const logInterval = time.Minute

// progressTo returns a function that prints why a Wait has not ended yet: on a terminal at
// each call; elsewhere, as in the log of an init container, at most once in logInterval.
func progressTo(w io.Writer) func(why error) {
	f, ok := w.(*os.File)
	terminal := ok && term.IsTerminal(int(f.Fd()))
	var printed time.Time
	return func(why error) {
		if terminal || time.Since(printed) >= logInterval {
			printed = time.Now()
			fmt.Fprintln(w, "waiting:", why)
		}
	}
}
