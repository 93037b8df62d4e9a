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
	"nowd/command"
)

// Command is the command "nowd query". It asks hosts for the time, and prints the
// answers, their round trips, and the offsets of the hosts' clocks from this host's.
// SIGINT and SIGTERM end it early.
var Command = command.Command{
	Name:      "query",
	Arguments: "[HOST[:PORT]]...",
	Summary:   "ask hosts for the time and compare their clocks",
	Text: `Asks each HOST for the time and prints the answer, the round trip, the offset of
its clock from this host's, and the error bound that it claims. The default HOST
is 127.0.0.1. The default PORT is 3333 for udp, tcp and http, 123 for ntp, 13 for
daytime and 37 for time.

Several hosts are asked at the same time and compared: query names the hosts whose
clocks disagree with the majority.
`,
	Status: `0  every host answered at least once, and no clock disagrees;
   with -w, every host is synced
1  a host never answered, disagrees or cannot be compared;
   with -w, a host was not synced in the last round
2  a mistake on the command line
`,
	Examples: `nowd query
nowd query -proto ntp -n 4 -i 2s pool.ntp.org
nowd query -o json 10.0.0.1 10.0.0.2 10.0.0.3:13333
`,
	New: func(flags *flag.FlagSet) command.Func {
		o := newOptions(flags)
		return func(c *command.Call) int {
			if err := o.check(c.Args); err != nil {
				return c.Mistake(err)
			}
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			context.AfterFunc(ctx, stop) // a second signal ends it at once
			return o.run(ctx, c.Stdout, c.Stderr)
		}
	},
}

// options are the flags and arguments of the command line.
type options struct {
	proto, output     string
	form              answer.Form
	formGiven         bool // by -ask
	count             int  // of rounds; 0 for no end
	interval, timeout time.Duration
	untilSynced       bool // end as soon as all hosts are synced

	countGiven func() bool

	// Set by check.
	verbatim bool // print the text of an answer, not the time that it carries
	hosts    []*Host
}

// newOptions defines the flags.
func newOptions(flags *flag.FlagSet) *options {
	o := &options{form: answer.JSON, countGiven: func() (given bool) {
		flags.Visit(func(f *flag.Flag) { given = given || f.Name == "n" })
		return given
	}}
	words := strings.Join(answer.Words(), ", ")
	command.ChoiceVar(flags, &o.proto, "proto", "udp", "the `protocol`", protocolNames()...)
	command.ChoiceVar(flags, &o.output, "o", "text", "the output `format`", "text", "json")
	flags.Func("ask", "request this `word` over udp, tcp or http, and print the answer as it came: "+words+" (default: request json, and print the time)", func(text string) (err error) {
		if o.form, o.formGiven = answer.ParseForm([]byte(text)); !o.formGiven {
			err = fmt.Errorf("want one of %s", words)
		}
		return err
	})
	command.CountVar(flags, &o.count, "n", 1, "the `number` of rounds; 0 is no end, and the default with -w")
	command.DurationVar(flags, &o.interval, "i", time.Second, "the `time` between two rounds")
	command.PositiveDurationVar(flags, &o.timeout, "timeout", time.Second, "the `time` to wait for an answer")
	flags.BoolVar(&o.untilSynced, "w", false, "repeat until every host is synced")
	return o
}

// check finishes the options after the flags are parsed. targets are the arguments after
// the flags.
func (o *options) check(targets []string) error {
	if o.untilSynced && !o.countGiven() {
		o.count = 0
	}
	o.verbatim = o.formGiven || strings.HasPrefix(o.proto, "daytime")
	if len(targets) == 0 {
		targets = []string{"127.0.0.1"}
	}
	switch {
	case o.formGiven && !takesWords(o.proto):
		return fmt.Errorf("-ask=%v: %s has no words; want -proto udp, tcp or http", o.form, o.proto)
	case o.untilSynced && !tellsQuality(o.proto, o.form):
		return errors.New("-w: the answer does not say whether the clock is synced; want -proto udp, tcp, http or ntp, without -ask")
	case len(targets) > 1 && !tellsTime(o.proto, o.form):
		return fmt.Errorf("-ask=%v: several hosts cannot be compared by this word; want rfc3339, unix, unixms, unixus, unixns, bound or json", o.form)
	}
	for _, target := range targets {
		h, err := New(o.proto, target, o.form, o.timeout)
		if err != nil {
			return err
		}
		o.hosts = append(o.hosts, h)
	}
	return nil
}

// run asks and prints, round after round, until the last round or until ctx is done. It
// returns the exit status.
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
		if ctx.Err() != nil { // interrupted: the results are incomplete
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
	what := "pausing between rounds"
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
		fmt.Fprintln(stderr, "nowd query:", command.Printable(results[0].Err.Error()))
	default:
		fmt.Fprintln(stdout, results[0].Answer.line(o.verbatim))
	}
}

// sumUp prints the tallies of all rounds. Text goes to stderr: stdout has answers only.
func (o *options) sumUp(tallies []tally, stdout, stderr io.Writer) {
	for i := range tallies {
		if o.output == "json" {
			tallies[i].writeJSON(stdout)
		} else if tallies[i].Asked > 0 {
			fmt.Fprintln(stderr, tallies[i].String())
		}
	}
}

// exitStatus returns the exit status. With -w hosts count as disagreeing only if they
// do in the last round.
func (o *options) exitStatus(tallies []tally, disagreed bool, last Verdict) int {
	several := len(tallies) > 1
	for _, t := range tallies {
		if t.Answered == 0 || several && t.Compared == 0 {
			return command.Failed
		}
	}
	if o.untilSynced {
		disagreed = !last.Agree()
	}
	if disagreed || o.untilSynced && !synced(tallies) {
		return command.Failed
	}
	return command.OK
}

// synced reports whether all hosts claimed to be synced in the last round.
func synced(tallies []tally) bool {
	return !slices.ContainsFunc(tallies, func(t tally) bool { return t.Sync != Synced })
}
