package main

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
	asking "nowd/query"
)

const queryUsage = `usage: nowd query [flags] [HOST[:PORT]]...

Asks hosts what time it is (default: 127.0.0.1), and shows how far their clocks
are off from this host's. Of several hosts it tells which disagree.

The exit status is 1 if a host never answered or, of several, one disagrees or
cannot be compared, or, with -w, one is not synced in the end.

`

// queryOptions are what the flags of nowd query say.
type queryOptions struct {
	proto, output     string
	form              answer.Form
	verbatim          bool // show what was asked for as it was answered
	count             int  // 0 is for ever
	interval, timeout time.Duration
	untilSynced       bool
	hosts             []*asking.Host
}

// query asks hosts for the time, and prints the answers, how long they took, and
// how far this host's clock is off from theirs.
func query(args []string, stdout, stderr io.Writer) int {
	o, err := parseQuery(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errFlags): // said already
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

// errFlags is the error of flags that package flag has complained of.
var errFlags = errors.New("wrong flags")

func parseQuery(args []string, stderr io.Writer) (*queryOptions, error) {
	o := new(queryOptions)
	flags := flag.NewFlagSet("nowd query", flag.ContinueOnError)
	flags.SetOutput(stderr)
	protocols := strings.Join(asking.Protocols(), ", ")
	flags.StringVar(&o.proto, "proto", "udp", "the `protocol`: "+protocols)
	flags.IntVar(&o.count, "n", 1, "ask so `many` times; 0 is for ever, and the default with -w")
	flags.DurationVar(&o.interval, "i", time.Second, "the `time` between two questions")
	flags.DurationVar(&o.timeout, "timeout", time.Second, "the `time` to wait for an answer")
	flags.BoolVar(&o.untilSynced, "w", false, "ask until every host says that its clock is synced")
	flags.StringVar(&o.output, "o", "text", "the `form` of what is shown: text or json")
	ask := flags.String("ask", "", "the `word` to ask over udp, tcp or http, and show the answer as it is (default: json, and show the time that it tells)")
	flags.Usage = func() {
		fmt.Fprint(stderr, queryUsage)
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
	case !slices.Contains(asking.Protocols(), o.proto):
		return nil, fmt.Errorf("-proto=%q: want one of %s", o.proto, protocols)
	case o.count < 0:
		return nil, fmt.Errorf("-n=%d: want 0 or more", o.count)
	case o.interval < 0 || o.timeout <= 0:
		return nil, fmt.Errorf("-i=%v -timeout=%v: want times that are not negative, and a time-out above 0", o.interval, o.timeout)
	case o.output != "text" && o.output != "json":
		return nil, fmt.Errorf("-o=%q: want text or json", o.output)
	case !known:
		return nil, fmt.Errorf("-ask=%q: want one of %s", *ask, strings.Join(answer.Words(), ", "))
	case given["ask"] && !asking.TakesWords(o.proto):
		return nil, fmt.Errorf("-ask=%q: %s takes no words", *ask, o.proto)
	case o.untilSynced && !asking.TellsQuality(o.proto, o.form):
		return nil, errors.New("-w: what is asked does not tell whether the clock is synced; try udp, tcp, http or ntp, without -ask")
	case len(targets) > 1 && !asking.TellsTime(o.proto, o.form):
		return nil, fmt.Errorf("-ask=%q: the answers cannot be compared", *ask)
	}
	for _, target := range targets {
		h, err := asking.New(o.proto, target, o.form, o.timeout)
		if err != nil {
			return nil, err
		}
		o.hosts = append(o.hosts, h)
	}
	return o, nil
}

// run asks and shows, until it has asked often enough or ctx is done.
func (o *queryOptions) run(ctx context.Context, stdout, stderr io.Writer) int {
	progress := asking.NewProgress(stderr)
	defer progress.Close()
	tallies := make([]asking.Tally, len(o.hosts))
	for i, h := range o.hosts {
		tallies[i].Host = h
	}
	disagreed, last := false, asking.Verdict{}
	for round := 1; o.count == 0 || round <= o.count; round++ {
		if round > 1 && !o.pause(ctx, progress) {
			break
		}
		progress.Wait("no answer yet from", o.hosts)
		results := asking.AskAll(ctx, o.hosts, progress.Came)
		progress.Hide()
		if ctx.Err() != nil { // what was cut short says nothing of the hosts
			break
		}
		last = asking.Compare(results)
		disagreed = disagreed || !last.Agree()
		for i, r := range results {
			tallies[i].Add(r)
		}
		for _, i := range last.Disagree {
			tallies[i].Disagreed++
		}
		o.show(round, results, last, stdout, stderr)
		if o.untilSynced && synced(tallies) {
			break
		}
	}
	progress.Hide()
	if o.count != 1 {
		o.sumUp(tallies, stdout, stderr)
	}
	return o.status(tallies, disagreed, last)
}

// pause waits for the time of the next question. It reports false if ctx is done
// before.
func (o *queryOptions) pause(ctx context.Context, progress *asking.Progress) bool {
	what := "between two questions"
	if o.untilSynced {
		what = "not synced yet; " + what
	}
	progress.Wait(what, nil)
	defer progress.Hide()
	select {
	case <-ctx.Done():
		return false
	case <-time.After(o.interval):
		return ctx.Err() == nil
	}
}

func (o *queryOptions) show(round int, results []asking.Result, v asking.Verdict, stdout, stderr io.Writer) {
	switch {
	case o.output == "json":
		asking.JSON(stdout, round, results, v)
	case len(results) > 1:
		if round > 1 {
			fmt.Fprintln(stdout)
		}
		asking.Table(stdout, results, v)
	case results[0].Err != nil:
		fmt.Fprintln(stderr, "nowd query:", asking.Printable(results[0].Err.Error()))
	default:
		fmt.Fprintln(stdout, results[0].Answer.Line(o.verbatim))
	}
}

// sumUp shows what all rounds came to. As text it is no part of the answers.
func (o *queryOptions) sumUp(tallies []asking.Tally, stdout, stderr io.Writer) {
	for i := range tallies {
		if o.output == "json" {
			tallies[i].JSON(stdout)
		} else if tallies[i].Asked > 0 {
			fmt.Fprintln(stderr, tallies[i].String())
		}
	}
}

// status returns the exit status. Where it was waited for hosts to be synced,
// what counts is how it ended.
func (o *queryOptions) status(tallies []asking.Tally, disagreed bool, last asking.Verdict) int {
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

// synced reports whether all hosts said so when they were asked last.
func synced(tallies []asking.Tally) bool {
	return !slices.ContainsFunc(tallies, func(t asking.Tally) bool { return t.Sync != asking.Synced })
}
