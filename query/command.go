package query

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"nowd/answer"
)

const usage = `usage: nowd query [flags] [HOST[:PORT]]...

Asks hosts what time it is (default: 127.0.0.1), and shows how far their clocks
are off from this host's. Of several hosts it tells which disagree.

The exit status is 1 if a host never answered or, of several, one disagrees or
cannot be compared, or, with -w, one is not synced in the end. It is 2 for a
mistake on the command line.

`

// options are the command line, parsed.
type options struct {
	proto, output     string
	form              answer.Form
	verbatim          bool // show the text of an answer, not the time that it tells
	count             int  // of rounds; 0 is without end
	interval, timeout time.Duration
	untilSynced       bool // end as soon as all hosts are synced
	hosts             []*Host
}

// Main is the command nowd query: it asks hosts for the time, and prints the
// answers, their round trips, and the offsets of the hosts' clocks from this
// host's. args are the arguments after "query". Main returns the exit status: 0,
// 1 or 2 as the usage says. SIGINT and SIGTERM end it early.
func Main(args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errFlags):
		return 2
	case err != nil:
		fmt.Fprintln(stderr, "nowd query:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	return o.run(ctx, stdout, stderr)
}

// errFlags is the error of flags about which package flag has printed a message.
var errFlags = errors.New("wrong flags")

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	flags := flag.NewFlagSet("nowd query", flag.ContinueOnError)
	flags.SetOutput(stderr)
	protocols := strings.Join(protocolNames(), ", ")
	flags.StringVar(&o.proto, "proto", "udp", "the `protocol`: "+protocols)
	flags.IntVar(&o.count, "n", 1, "ask so `many` times; 0 is for ever, and the default with -w")
	flags.DurationVar(&o.interval, "i", time.Second, "the `time` between two questions")
	flags.DurationVar(&o.timeout, "timeout", time.Second, "the `time` to wait for an answer")
	flags.BoolVar(&o.untilSynced, "w", false, "ask until every host says that its clock is synced")
	flags.StringVar(&o.output, "o", "text", "the `form` of what is shown: text or json")
	ask := flags.String("ask", "", "the `word` to ask over udp, tcp or http, and show the answer as it is (default: json, and show the time that it tells)")
	flags.Usage = func() {
		fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, errFlags
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.untilSynced && !given["n"] {
		o.count = 0
	}
	o.verbatim = *ask != "" || strings.HasPrefix(o.proto, "daytime")
	var known bool
	o.form, known = answer.ParseForm([]byte(*ask))
	if !given["ask"] {
		o.form, known = answer.JSON, true
	}
	targets := flags.Args()
	if len(targets) == 0 {
		targets = []string{"127.0.0.1"}
	}
	dash := slices.IndexFunc(targets, func(s string) bool { return strings.HasPrefix(s, "-") })
	switch {
	case dash >= 0:
		return nil, fmt.Errorf("%q: want a host; flags come before hosts", targets[dash])
	case !slices.Contains(protocolNames(), o.proto):
		return nil, fmt.Errorf("-proto=%q: want one of %s", o.proto, protocols)
	case o.count < 0:
		return nil, fmt.Errorf("-n=%d: want 0 or more", o.count)
	case o.interval < 0 || o.timeout <= 0:
		return nil, fmt.Errorf("-i=%v -timeout=%v: want times that are not negative, and a time-out above 0", o.interval, o.timeout)
	case o.output != "text" && o.output != "json":
		return nil, fmt.Errorf("-o=%q: want text or json", o.output)
	case !known:
		return nil, fmt.Errorf("-ask=%q: want one of %s", *ask, strings.Join(answer.Words(), ", "))
	case given["ask"] && !takesWords(o.proto):
		return nil, fmt.Errorf("-ask=%q: %s takes no words", *ask, o.proto)
	case o.untilSynced && !tellsQuality(o.proto, o.form):
		return nil, errors.New("-w: what is asked does not tell whether the clock is synced; try udp, tcp, http or ntp, without -ask")
	case len(targets) > 1 && !tellsTime(o.proto, o.form):
		return nil, fmt.Errorf("-ask=%q: the answers cannot be compared", *ask)
	}
	for _, target := range targets {
		h, err := New(o.proto, target, o.form, o.timeout)
		if err != nil {
			return nil, err
		}
		o.hosts = append(o.hosts, h)
	}
	return o, nil
}

// run asks and prints round after round, until the last or until ctx is done.
func (o *options) run(ctx context.Context, stdout, stderr io.Writer) int {
	line := newProgress(stderr)
	defer line.close()
	tallies := make([]tally, len(o.hosts))
	for i, h := range o.hosts {
		tallies[i].Host = h
	}
	disagreed, last := false, Verdict{}
	for round := 1; o.count == 0 || round <= o.count; round++ {
		if round > 1 && !o.pause(ctx, line) {
			break
		}
		line.wait("no answer yet from", o.hosts)
		results := AskAll(ctx, o.hosts, line.finished)
		line.hide()
		if ctx.Err() != nil { // the results were cut short and say nothing of the hosts
			break
		}
		last = Compare(results)
		disagreed = disagreed || !last.Agree()
		for i, r := range results {
			tallies[i].add(r)
		}
		for _, i := range last.Disagree {
			tallies[i].Disagreed++
		}
		o.print(round, results, last, stdout, stderr)
		if o.untilSynced && synced(tallies) {
			break
		}
	}
	line.hide()
	if o.count != 1 {
		o.sumUp(tallies, stdout, stderr)
	}
	return o.exitStatus(tallies, disagreed, last)
}

// pause waits for the next round. It returns false if ctx is done first.
func (o *options) pause(ctx context.Context, line *progress) bool {
	what := "between two questions"
	if o.untilSynced {
		what = "not synced yet; " + what
	}
	line.wait(what, nil)
	defer line.hide()
	select {
	case <-ctx.Done():
		return false
	case <-time.After(o.interval):
		return ctx.Err() == nil
	}
}

// print prints the results of a round.
func (o *options) print(round int, results []Result, v Verdict, stdout, stderr io.Writer) {
	switch {
	case o.output == "json":
		writeJSON(stdout, round, results, v)
	case len(results) > 1:
		if round > 1 {
			fmt.Fprintln(stdout)
		}
		writeTable(stdout, results, v)
	case results[0].Err != nil:
		fmt.Fprintln(stderr, "nowd query:", printable(results[0].Err.Error()))
	default:
		fmt.Fprintln(stdout, results[0].Answer.line(o.verbatim))
	}
}

// sumUp prints the tallies of all rounds: as text to stderr, since they are no
// answers.
func (o *options) sumUp(tallies []tally, stdout, stderr io.Writer) {
	for i := range tallies {
		if o.output == "json" {
			tallies[i].writeJSON(stdout)
		} else if tallies[i].Asked > 0 {
			fmt.Fprintln(stderr, tallies[i].String())
		}
	}
}

// exitStatus returns the exit status. With -w only the last round counts for
// whether the hosts disagree.
func (o *options) exitStatus(tallies []tally, disagreed bool, last Verdict) int {
	several := len(tallies) > 1
	for _, t := range tallies {
		if t.Answered == 0 || several && t.Compared == 0 {
			return 1
		}
	}
	if o.untilSynced {
		disagreed = !last.Agree()
	}
	if disagreed || o.untilSynced && !synced(tallies) {
		return 1
	}
	return 0
}

// synced reports whether all hosts said in the last round that they are synced.
func synced(tallies []tally) bool {
	return !slices.ContainsFunc(tallies, func(t tally) bool { return t.Sync != Synced })
}
