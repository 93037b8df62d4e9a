//go:build linux

// Command bench measures what an answer of nowd costs, and compares it with two baselines
// that speak the same protocol:
//
//   - net: a server written with Go's net package.
//   - min: a bare loop around the system calls, without limits, timeouts or counters.
//
// Run it in the module's directory:
//
//	go run ./bench                              all scenarios; about five minutes, and three more as root
//	go run ./bench -run ^udp/ -svg ratios.svg   the scenarios whose names begin with udp/, with a chart
//
// In each round every server is started anew and measured once, one after the other. Ratios
// are taken within a round, because the speed of a shared machine changes by the minute. The
// quartiles of a ratio show what noise remains.
//
// The most reliable figure is CPU: the run time of the server's threads, divided by its
// answers. Answers per second and round trips also depend on the load generator, and on
// what else the machine runs.
//
// To read the figures:
//
//   - Over the loopback interface, the kernel receives a packet within the system call that
//     sent it. So the server's CPU includes the client's part of receiving an answer, and
//     excludes its own part of receiving a request. This is the same for all servers.
//   - A server on one processor runs with GOMAXPROCS=1.
//   - The age of an answer is the time from the reading of the clock to the receive
//     timestamp, which over the loopback interface is part of sending. If the answers of a
//     batch share one reading, they cost less CPU and are older.
//   - Bytes per connection are the process's. The kernel's memory for a connection is not
//     included; it is the same for all servers.
//   - strace slows a server down so much that requests always wait for it. So system calls
//     are counted with full batches.
//
// bench starts itself as the baselines (bench serve) and as the load generator (bench load).
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

// run runs a command and returns its exit status: 0, 1 if it failed, 2 after a mistake on
// the command line.
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
	var mistake usageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &mistake):
		fmt.Fprintln(stderr, "bench:", err)
		return 2
	default:
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

const usage = `Usage:
  go run ./bench [flags]

Measures what an answer of nowd costs, and compares it with two baselines that
speak the same protocol: a server written with Go's net package (net), and a
bare loop around the system calls (min). Prints medians, ratios within each
round, and the quartiles of the ratios. All scenarios take about five minutes,
and three more as root.

Flags:
`

const afterFlags = `
Exit status:
  0  the report is complete; its notes name scenarios that this host does not support
  1  a scenario or the build failed, or bench was interrupted; the report has what
     was measured
  2  a mistake on the command line

Examples:
  go run ./bench
  go run ./bench -run '^udp/' -svg ratios.svg
  go run ./bench -quick -o json
`

// options are what the flags set.
type options struct {
	pairs  int           // rounds
	length time.Duration // of a measurement
	quick  bool
	run    *regexp.Regexp
	svg    string
	json   bool
	limit  string // path of a program
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	var pattern, format string
	var seconds float64
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.pairs, "pairs", 7, "number of rounds; slow scenarios run fewer")
	flags.Float64Var(&seconds, "seconds", 1, "length of one measurement")
	flags.StringVar(&pattern, "run", "", "measure only the scenarios whose names match this `regexp`")
	flags.StringVar(&o.svg, "svg", "", "write a chart to this `file`")
	flags.StringVar(&format, "o", "text", "output `format`: text, or json with the figures of each round")
	flags.StringVar(&o.limit, "limit", "", "also measure this `program` in the scenarios udp, tcp, age and xdp/text; it is started as\n"+
		"PROGRAM PORT batch 1, PROGRAM PORT single and PROGRAM PORT tcp, for xdp/text as PROGRAM PORT batch")
	flags.BoolVar(&o.quick, "quick", false, "measure one short, small round, to see whether bench works; its figures mean nothing")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
		fmt.Fprintln(stderr, "\nScenarios:")
		for _, s := range scenarios() {
			fmt.Fprintf(stderr, "  %-16s %s\n", s.name, s.about)
		}
		fmt.Fprint(stderr, afterFlags)
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
		return o, usageError{fmt.Errorf("-run %q: %w", pattern, err)}
	case !slices.ContainsFunc(scenarios(), func(s scenario) bool { return o.run.MatchString(s.name) }):
		return o, usageError{fmt.Errorf("-run %q: no scenario matches", pattern)}
	case flags.NArg() > 0:
		return o, usageError{fmt.Errorf("%q: no such command", flags.Arg(0))}
	case format != "text" && format != "json":
		return o, usageError{fmt.Errorf("-o %q: want text or json", format)}
	case o.pairs < 1:
		return o, usageError{fmt.Errorf("-pairs %d: want 1 or more", o.pairs)}
	case o.length < time.Millisecond || o.length > time.Hour:
		return o, usageError{fmt.Errorf("-seconds %v: want 0.001 to 3600", seconds)}
	}
	return o, nil
}

// compare measures and prints the report: the command without a name.
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
