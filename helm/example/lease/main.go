// Command lease shows how a program decides by the error bound of its clock, which
// its nowd sidecar shares with it. Several of these programs, on any hosts, contend
// for a lease. Only its holder adds to a log, and the log is in the order of its
// timestamps, whoever wrote them.
//
// The lease and the log are files, which stand for a database that all of them reach.
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
	flag.StringVar(&p.name, "name", "somebody", "who holds the lease: a `name` that no other has")
	flag.DurationVar(&p.term, "term", 2*time.Second, "how long a lease is")
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

// run opens the segment as soon as it is there, and runs the program.
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

// program is one of those that contend.
type program struct {
	name        string
	term, every time.Duration
	clock       clock
	store       *store
	out         interface{ Write([]byte) (int, error) }
}

// run contends for the lease, and works while it has it, until ctx is done.
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

// lease says who may write to the log, and until when.
type lease struct {
	Holder string    `json:"holder"`
	Until  time.Time `json:"until"`
}

// acquire takes or renews the lease, and returns it; nil if it is another's.
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
		// The lease is free if it is over on every host: if its end is certainly past.
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
	// Commit wait: when the entry becomes visible, its time is past on every host. So
	// nobody who has seen it gives an earlier time to what comes after it.
	stamp := now.Latest
	if err := p.clock.WaitUntilAfter(ctx, stamp); err != nil {
		return errLost
	}
	err = p.store.commit(fmt.Sprintf("%d %s\n", stamp.UnixNano(), p.name), func() error {
		// The lease still holds if its end has certainly not come.
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

// say tells what the program does, and what it knows of the clock.
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
