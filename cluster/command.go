// Package cluster fetches the measurements that the members of a cluster have made of each
// other's clocks, and reports what they prove: how far apart the clocks can be, and which of
// them are wrong. Command is the command "nowd cluster".
//
// The package trusts no member: it reads a limited number of bytes, for a limited time,
// and prints no control characters.
package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nowd/command"
)

// Command is the command "nowd cluster". SIGINT and SIGTERM end it early.
var Command = command.Command{
	Name:      "cluster",
	Arguments: "TARGET...",
	Summary:   "prove how far apart the clocks of a cluster are, and which are wrong",
	Text: `Fetches the measurements that the members of a cluster (NOWD_PEERS) have made of
each other's clocks. Prints what they prove: how far apart any two clocks can be,
how far each clock is from the majority, and which clocks are wrong.

A TARGET is HOST or HOST:PORT of a member's health endpoint, or several separated
by commas. The default PORT is 8086. If HOST is a name, cluster asks each of its
addresses.

With -w -listen ADDRESS it runs as a service until a signal ends it: a page at /,
and /metrics, /live and /ready.
`,
	Status: `0  no problem was found
1  a problem: a clock or the bound that it claims is proved wrong; measurements
   contradict each other; a member is missing, not measured or not connected;
   or two clocks may differ by more than -max-skew
2  a mistake on the command line
`,
	Examples: `nowd cluster nowd-peers.default.svc
nowd cluster -max-skew 50ms 10.0.0.1,10.0.0.2,10.0.0.3
nowd cluster -w -listen :8087 nowd-peers.default.svc
`,
	New: func(flags *flag.FlagSet) command.Func {
		o := newOptions(flags)
		return func(c *command.Call) int {
			if err := o.check(c.Args); err != nil {
				return c.Mistake(err)
			}
			return o.main(c)
		}
	},
}

// options are the flags and arguments of the command line.
type options struct {
	output    string
	maxSkew   time.Duration
	threshold time.Duration
	interval  time.Duration // between two rounds; 0 for the members' own
	watch     bool
	listen    string // with watch: where the reports are served; empty if they are printed
	fetcher   fetcher
}

// defaultThreshold is the least difference by which two clocks contradict each other. It
// is above the offsets that NTP leaves between the clocks of a cluster.
const defaultThreshold = 10 * time.Millisecond

// newOptions defines the flags.
func newOptions(flags *flag.FlagSet) *options {
	o := new(options)
	command.ChoiceVar(flags, &o.output, "o", "text", "the output `format`", "text", "json", "svg")
	command.DurationVar(flags, &o.maxSkew, "max-skew", 0, "the `time` that any two clocks may differ by; 0 is no limit")
	command.DurationVar(flags, &o.threshold, "threshold", defaultThreshold, "the `time` by which two clocks must provably differ to contradict each other")
	flags.BoolVar(&o.watch, "w", false, "watch: repeat until a signal")
	command.DurationVar(flags, &o.interval, "i", 0, "with -w: the `time` between two rounds; 0 is the interval at which the members measure, from 1s to 1m")
	flags.StringVar(&o.listen, "listen", "", "with -w: serve the reports over HTTP at this `address`, such as :8087, instead of printing them")
	command.PositiveDurationVar(flags, &o.fetcher.timeout, "timeout", 3*time.Second, "the `time` to wait for a member's answer")
	return o
}

// check finishes the options after the flags are parsed. targets are the arguments after
// the flags.
func (o *options) check(targets []string) error {
	switch {
	case o.output == "svg" && o.watch:
		return errors.New("-o svg: draws one picture; want it without -w")
	case o.listen != "" && !o.watch:
		return errors.New("-listen: want -w as well")
	case o.listen != "" && o.output != "text":
		return fmt.Errorf("-o %s: -listen prints no reports; want one of the two", o.output)
	case len(targets) == 0:
		return errors.New("want a TARGET: HOST or HOST:PORT of the members' health endpoints")
	}
	for _, arg := range targets {
		for text := range strings.SplitSeq(arg, ",") {
			t, err := parseTarget(strings.TrimSpace(text))
			if err != nil {
				return err
			}
			o.fetcher.targets = append(o.fetcher.targets, t)
		}
	}
	return nil
}

// main runs the command, and returns the exit status.
func (o *options) main(c *command.Call) int {
	var listener net.Listener
	if o.listen != "" {
		var err error
		if listener, err = net.Listen("tcp", o.listen); err != nil {
			fmt.Fprintln(c.Stderr, "nowd cluster:", err)
			return command.Failed
		}
	}
	if err := o.confine(); err != nil {
		fmt.Fprintln(c.Stderr, "nowd cluster: cannot drop privileges:", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	if listener != nil {
		return o.serve(ctx, listener, slog.New(slog.NewTextHandler(c.Stderr, nil)))
	}
	return o.run(ctx, func(round int, r *Report) { o.print(round, r, c.Stdout) })
}

// parseTarget parses HOST, HOST:PORT, an IPv6 address or one in brackets.
func parseTarget(text string) (target, error) {
	bad := fmt.Errorf("%q: want HOST, HOST:PORT or [IPv6]:PORT", text)
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")); err == nil {
		return target{ip.String(), defaultPort}, nil
	}
	if !strings.Contains(text, ":") && text != "" && !strings.HasPrefix(text, "-") {
		return target{text, defaultPort}, nil
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return target{}, bad
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return target{}, bad
	}
	return target{host, uint16(n)}, nil
}

// run makes one report, or with -w one each round until ctx is done, and passes them to
// show. It returns the exit status of the last round.
func (o *options) run(ctx context.Context, show func(round int, r *Report)) (status int) {
	for round := 0; ; round++ {
		report, interval := o.report(ctx)
		if ctx.Err() != nil { // interrupted: the report is incomplete
			if round == 0 {
				return command.Failed
			}
			return status
		}
		show(round, report)
		if status = command.OK; len(report.Problems) > 0 {
			status = command.Failed
		}
		if !o.watch {
			return status
		}
		select {
		case <-ctx.Done():
			return status
		case <-time.After(interval):
		}
	}
}

// maxInterval is an upper bound on the time between two rounds if -i does not set it.
const maxInterval = time.Minute

// report fetches all documents and reports on them. It also returns the time to the next
// round: -i, or the median of the intervals at which the members measure, from 1 s to
// maxInterval. A minority of the members cannot set it.
func (o *options) report(ctx context.Context) (*Report, time.Duration) {
	asked := time.Now()
	responses, err := o.fetcher.fetch(ctx)
	r := newReport(assemble(responses, o.fetcher.members, o.threshold), asked, o.maxSkew)
	if err != nil {
		r.Problems = append(r.Problems, Problem{lookupProblem, err.Error()})
	}
	if o.interval > 0 {
		return r, o.interval
	}
	var intervals []time.Duration
	for _, one := range responses {
		if one.document != nil {
			intervals = append(intervals, one.document.Interval)
		}
	}
	slices.Sort(intervals)
	interval := time.Duration(0)
	if n := len(intervals); n > 0 {
		interval = intervals[n/2]
	}
	return r, min(max(interval, time.Second), maxInterval)
}

// print prints the report of a round.
func (o *options) print(round int, r *Report, stdout io.Writer) {
	switch o.output {
	case "json":
		writeJSON(stdout, r)
	case "svg":
		writeSVG(stdout, r)
	default:
		if round > 0 {
			fmt.Fprintln(stdout)
		}
		if o.watch {
			fmt.Fprintln(stdout, r.Asked.Format(time.RFC3339))
		}
		writeText(stdout, r)
	}
}
