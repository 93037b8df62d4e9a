// Command lease is an example of a program that decides by the error bound of its
// clock, which its nowd sidecar shares with it. Several of these programs, on any
// hosts, contend for a lease. Only the holder of the lease adds to a log. The log is
// in the order of its timestamps, across all holders.
//
// The lease and the log are files here. They stand for a database that all programs
// use.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"nowd/clockbound"
)

func main() {
	segment := flag.String("clockbound", "/var/run/clockbound/shm0", "the `path` of the segment that nowd writes")
	dir := flag.String("dir", "/lease", "the `directory` of the lease and the log")
	p := &program{out: os.Stdout}
	flag.StringVar(&p.name, "name", "somebody", "the `name` of this program in the lease and the log; every program needs its own")
	flag.DurationVar(&p.term, "term", 2*time.Second, "the `duration` of a lease")
	flag.DurationVar(&p.every, "every", 300*time.Millisecond, "the `time` between two entries of the log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	p.store = &store{lease: filepath.Join(*dir, "lease.json"), log: filepath.Join(*dir, "log")}
	if err := run(ctx, p, *segment); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "lease:", err)
		os.Exit(1)
	}
}

// run opens the segment as soon as it exists, and runs the program.
func run(ctx context.Context, p *program, segment string) error {
	for {
		client, err := clockbound.Open(segment)
		if err == nil {
			defer client.Close()
			p.clock = client
			return p.run(ctx)
		}
		fmt.Fprintln(p.out, "no clock yet:", err)
		if !sleep(ctx, time.Second) {
			return nil
		}
	}
}

// clock is a *clockbound.Client.
type clock interface {
	Now() (clockbound.Interval, error)
	WaitUntilAfter(ctx context.Context, t time.Time) error
}

// program is one of the programs that contend for the lease.
type program struct {
	name        string
	term, every time.Duration
	clock       clock
	store       *store
	out         interface{ Write([]byte) (int, error) }
}

// run contends for the lease, and works while it holds it, until ctx is done.
func (p *program) run(ctx context.Context) error {
	for sleep(ctx, p.every) {
		held, err := p.acquire()
		if err != nil {
			return err
		}
		if held == nil {
			continue
		}
		if err := p.work(ctx, held); err != nil && !errors.Is(err, errLost) {
			return err
		}
	}
	return nil
}

// lease is the right to write to the log: its holder, and its end.
type lease struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

// acquire takes or renews the lease, and returns it. It returns nil if another program
// holds the lease, or if the clock has no error bound.
func (p *program) acquire() (held *lease, err error) {
	err = p.store.update(func(l *lease) bool {
		now, err := p.clock.Now()
		if err != nil {
			fmt.Fprintln(p.out, "no time:", err)
			return false
		}
		if !now.Status.Bounded() {
			fmt.Fprintln(p.out, "no time: the clock is", now.Status)
			return false
		}
		// The lease is free if its end is certainly past: then it has ended on every host.
		if l.Holder != p.name && !now.After(l.Until) {
			return false
		}
		if l.Holder != p.name {
			p.say("takes the lease", now)
		}
		*l = lease{p.name, now.Latest.Add(p.term)}
		held = l
		return true
	})
	return held, err
}

var errLost = errors.New("the lease may be over")

// work adds one entry to the log.
func (p *program) work(ctx context.Context, held *lease) error {
	now, err := p.clock.Now()
	if err != nil {
		return errLost
	}
	// Commit wait: when the entry becomes visible, its time is past on every host. So a
	// program that has seen it gives a later time to its own entries.
	stamp := now.Latest
	if err := p.clock.WaitUntilAfter(ctx, stamp); err != nil {
		return errLost
	}
	err = p.store.commit(fmt.Sprintf("%d %s\n", stamp.UnixNano(), p.name), func() error {
		// The lease still holds if its end is certainly in the future.
		if now, err := p.clock.Now(); err != nil || !now.Before(held.Until) {
			return errLost
		}
		return nil
	})
	if err == nil {
		p.say("writes at "+stamp.UTC().Format(time.RFC3339Nano), now)
	}
	return err
}

// say prints what the program does, and the clock's status and error bound.
func (p *program) say(what string, now clockbound.Interval) {
	fmt.Fprintf(p.out, "%s %s; the clock is %v, ±%v\n", p.name, what, now.Status, now.Latest.Sub(now.Earliest)/2)
}

// sleep reports whether it slept that long.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
