package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"nowd/config"
)

const waitUsage = `usage: nowd wait [flags]

Waits until the clock of this host is trusted: it is synchronised, by what the
kernel says, and by a comparison with NOWD_UPSTREAM if that is set, and its error
bound is low enough.

With -clockbound, the status and the error bound that a nowd writes decide
instead (NOWD_CLOCKBOUND).

The exit status is 0 when the clock is trusted, 1 if it is not in time, and 2 for
a mistake on the command line or in a setting.

`

// WaitMain is the command nowd wait. args are the arguments after "wait", and environ
// has the settings. It returns the exit status: 0 when the clock is trusted, 1 if it is
// not in time, 2 for a mistake on the command line or in a setting.
func WaitMain(args, environ []string, stdout, stderr io.Writer) int {
	c, err := config.Load(environ)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	w := Wait{Config: c}
	flags := flag.NewFlagSet("nowd wait", flag.ContinueOnError)
	flags.SetOutput(stderr)
	timeout := flags.Duration("timeout", 0, "the `time` to wait at most (default: for ever)")
	flags.DurationVar(&w.Limit, "max-error", c.ClockMaxError, "the error bound, a `time`, up to which the clock is trusted; the default is NOWD_CLOCK_MAX_ERROR")
	flags.StringVar(&w.ClockBound, "clockbound", "", "the `path` of a ClockBound segment that decides, not the kernel and NOWD_UPSTREAM")
	flags.Usage = func() {
		fmt.Fprint(stderr, waitUsage)
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0 || *timeout < 0 || w.Limit <= 0:
		fmt.Fprintf(stderr, "nowd wait: -timeout=%v -max-error=%v %q: want a time-out that is not negative, an error above 0, and no arguments\n", *timeout, w.Limit, flags.Args())
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, *timeout, fmt.Errorf("not within %v", *timeout))
		defer cancel()
	}
	if f, ok := stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		w.Progress = func(why error) { fmt.Fprintln(stderr, "waiting:", why) }
	}
	bound, err := w.Run(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "nowd wait:", err)
		return 1
	}
	fmt.Fprintln(stdout, "the clock is trusted: it is off by at most", bound)
	return 0
}
