//go:build linux

// Command bench measures what an answer of nowd's costs, against two
// yardsticks that speak the same protocol: a server written with Go's net
// package (net), and a bare loop around the kernel's calls that neither
// protects nor observes anything (min).
//
//	go run ./bench                    all scenarios, in about four minutes
//	go run ./bench -run ^udp/ -svg ratios.svg
//
// Servers take turns, each started anew for each, and only figures of the same
// round are compared: what else the machine does meanwhile changes by the
// minute, and what is left of it in a ratio shows in its quartiles. The figure
// to look at first is CPU: the time that the server's threads were on a
// processor, for an answer. Answers a second and round trips say as much about
// the load, and about what else was running.
//
// What to bear in mind:
//
//   - Over the loopback the kernel hands a packet to its receiver within the
//     sender's system call. So the server pays for the client's part of
//     receiving an answer, and the client for the server's part of receiving a
//     request. It is the same for all servers.
//   - A server on one processor has GOMAXPROCS=1.
//   - Age is measured where the answer has passed through the kernel's sending
//     side. A batch that is answered with one reading of the clock saves time
//     and costs age.
//   - Bytes per connection are those of the process. What the kernel keeps for
//     a connection comes on top, and is the same for all.
//   - While strace counts system calls it slows the server down so much that
//     requests always wait for it.
//
// The program runs itself as the yardsticks and as the load: bench serve, bench
// load.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run runs a command and returns its exit status: 0; 1 if it failed; 2 if it
// was told something that it does not understand.
func run(args []string, stdout, stderr io.Writer) int {
	var err error
	switch {
	case len(args) > 0 && args[0] == "serve":
		err = serve(args[1:])
	case len(args) > 0 && args[0] == "load":
		err = load(args[1:], os.Stdin, stdout, stderr)
	default:
		err = compare(args, stdout, stderr)
	}
	var misused usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &misused):
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	default:
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
}

// usageError is a mistake in what the command was told.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

const usage = `bench measures what an answer of nowd's costs, against two yardsticks that
speak the same protocol: a server written with Go's net package (net), and a
bare loop around the kernel's calls (min).

Usage:
  go run ./bench [flags]

`

// options say how to compare.
type options struct {
	pairs  int
	length time.Duration // of a measurement
	quick  bool
	run    *regexp.Regexp
	svg    string
	json   bool
	limit  string // a program
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	var pattern, format string
	var seconds float64
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.pairs, "pairs", 7, "rounds in which each server is measured once; slow scenarios take fewer")
	flags.Float64Var(&seconds, "seconds", 1, "how long a measurement takes")
	flags.StringVar(&pattern, "run", "", "only the scenarios whose names this `regexp` matches")
	flags.StringVar(&o.svg, "svg", "", "draw the ratios into this `file`")
	flags.StringVar(&format, "o", "text", "text, or json with the figures of each round")
	flags.StringVar(&o.limit, "limit", "", "measure a `program` of yours in xdp/text as well, a server that is started as PROGRAM PORT batch")
	flags.BoolVar(&o.quick, "quick", false, "one short and small round, which shows only that all this works")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
		fmt.Fprintln(stderr, "\nScenarios:")
		for _, s := range scenarios() {
			fmt.Fprintf(stderr, "  %-16s %s\n", s.name, s.about)
		}
	}
	if err := flags.Parse(args); err != nil {
		return o, usageError{err}
	}
	if o.quick {
		o.pairs, seconds = 1, 0.2
	}
	o.length = time.Duration(seconds * float64(time.Second))
	o.json = format == "json"
	var err error
	o.run, err = regexp.Compile(pattern)
	switch {
	case err != nil:
		return o, usageError{err}
	case !slices.ContainsFunc(scenarios(), func(s scenario) bool { return o.run.MatchString(s.name) }):
		return o, usageError{fmt.Errorf("-run %q: there is no such scenario", pattern)}
	case flags.NArg() > 0:
		return o, usageError{fmt.Errorf("no such command: %q", flags.Arg(0))}
	case format != "text" && format != "json":
		return o, usageError{fmt.Errorf("-o %q: want text or json", format)}
	case o.pairs < 1 || o.length < time.Millisecond || o.length > time.Hour:
		return o, usageError{errors.New("want at least one pair, and from a millisecond to an hour each")}
	}
	return o, nil
}

// compare is the command without a name.
func compare(args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "nowd-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBench(ctx, dir, o)
	if err != nil {
		return err
	}
	rep, err := b.measureAll(ctx, stderr)
	if o.svg != "" {
		err = errors.Join(err, os.WriteFile(o.svg, rep.svg(), 0o666))
	}
	if o.json {
		e := json.NewEncoder(stdout)
		e.SetIndent("", "  ")
		return errors.Join(err, e.Encode(rep))
	}
	return errors.Join(err, rep.print(stdout))
}
