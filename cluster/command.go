// Package cluster asks the members of a cluster what they have measured of each
// other's clocks, and says what that proves: how far apart the clocks can be, and
// which of them are wrong. Main is the command nowd cluster.
//
// It trusts no member: it reads a limited number of bytes, for a limited time,
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
)

const usage = `usage: nowd cluster [flags] TARGET...

Asks the members of a cluster (NOWD_PEERS) what they have measured of each
other's clocks, and shows what that proves: how far any two clocks can be apart,
how far each is from the majority, and which are wrong.

A TARGET is HOST or HOST:PORT of health endpoints (port 8086), or several
separated by commas; each address that a name stands for is asked.

The exit status is 0 if all is well. It is 1 if a clock or the bound that it
claims is proved wrong, measurements contradict each other, members are missing,
not measured or not connected, or the skew may exceed -max-skew. It is 2 for a
mistake on the command line.

With -w -listen ADDRESS it serves what it finds instead of showing it, until a
signal ends it: a page for people at /, /metrics, /live and /ready.

`

// options are the command line, parsed.
type options struct {
	output    string
	maxSkew   time.Duration
	threshold time.Duration
	interval  time.Duration // between two rounds; 0 for the members' own
	watch     bool
	listen    string // where rounds are served, with watch; empty where they are shown
	fetcher   fetcher
}

// Main is the command nowd cluster. args are the arguments after "cluster". Main
// returns the exit status: 0, 1 or 2 for a mistake on the command line. SIGINT and
// SIGTERM end it early.
func Main(args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errFlags):
		return 2
	case err != nil:
		fmt.Fprintln(stderr, "nowd cluster:", err)
		return 2
	}
	var listener net.Listener
	if o.listen != "" {
		if listener, err = net.Listen("tcp", o.listen); err != nil {
			fmt.Fprintln(stderr, "nowd cluster:", err)
			return 1
		}
	}
	if err := o.confine(); err != nil {
		fmt.Fprintln(stderr, "nowd cluster: cannot give up what is not needed:", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	if listener != nil {
		return o.serve(ctx, listener, slog.New(slog.NewTextHandler(stderr, nil)))
	}
	return o.run(ctx, func(round int, r *Report) { o.print(round, r, stdout) })
}

// errFlags is the error of flags about which package flag has printed a message.
var errFlags = errors.New("wrong flags")

// defaultThreshold is by how much two clocks have to differ to contradict each
// other. Clocks that NTP keeps well within a cluster are closer.
const defaultThreshold = 10 * time.Millisecond

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("nowd cluster", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.output, "o", "text", "the `form` of what is shown: text, json or svg")
	flags.DurationVar(&o.maxSkew, "max-skew", 0, "the `time` that any two clocks may differ by; 0 for no limit")
	flags.DurationVar(&o.threshold, "threshold", defaultThreshold, "the `time` by which two clocks have to differ, for certain, to contradict each other")
	flags.BoolVar(&o.watch, "w", false, "watch: ask again and again")
	flags.DurationVar(&o.interval, "i", 0, "the `time` between two rounds with -w (default: the members' own)")
	flags.StringVar(&o.listen, "listen", "", "the `address`, such as :8087, at which rounds are served over HTTP, with -w")
	flags.DurationVar(&o.fetcher.timeout, "timeout", 3*time.Second, "the `time` to wait for a member's answer")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, errFlags
	}
	switch {
	case o.output != "text" && o.output != "json" && o.output != "svg":
		return nil, fmt.Errorf("-o=%q: want text, json or svg", o.output)
	case o.output == "svg" && o.watch:
		return nil, errors.New("-o=svg: is one picture, so not with -w")
	case o.listen != "" && !o.watch:
		return nil, errors.New("-listen: is for -w, which asks again and again")
	case o.listen != "" && o.output != "text":
		return nil, fmt.Errorf("-o=%s: shows nothing with -listen", o.output)
	case o.maxSkew < 0 || o.threshold < 0 || o.interval < 0 || o.fetcher.timeout <= 0:
		return nil, fmt.Errorf("-max-skew=%v -threshold=%v -i=%v -timeout=%v: want times that are not negative, and a time-out above 0", o.maxSkew, o.threshold, o.interval, o.fetcher.timeout)
	case flags.NArg() == 0:
		return nil, errors.New("want a TARGET: HOST or HOST:PORT of the members' health endpoints")
	}
	for _, arg := range flags.Args() {
		for text := range strings.SplitSeq(arg, ",") {
			t, err := parseTarget(strings.TrimSpace(text))
			if err != nil {
				return nil, err
			}
			o.fetcher.targets = append(o.fetcher.targets, t)
		}
	}
	return o, nil
}

// parseTarget reads HOST, HOST:PORT, an IPv6 address or one in brackets.
func parseTarget(text string) (target, error) {
	bad := fmt.Errorf("%q: want HOST, HOST:PORT or [IPv6]:PORT; flags come before", text)
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

// run reports once, or again and again until ctx is done. The exit status is that
// of the last round.
func (o *options) run(ctx context.Context, show func(round int, r *Report)) (status int) {
	for round := 0; ; round++ {
		report, interval := o.report(ctx)
		if ctx.Err() != nil { // the report was cut short and says nothing of the members
			if round == 0 {
				return 1
			}
			return status
		}
		show(round, report)
		if status = 0; len(report.Problems) > 0 {
			status = 1
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

// maxInterval is an upper bound on the time between two rounds, but for -i.
const maxInterval = time.Minute

// report asks all members, and says what they prove. It also returns when to ask
// again: as -i says or as often as they measure, half of them not less often. One
// member alone has no say in it.
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
	for _, answer := range responses {
		if answer.document != nil {
			intervals = append(intervals, answer.document.Interval)
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
