package cluster

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"nowd/command"
	"nowd/health"
	"nowd/peers"
)

// page is the page for people. It loads no other file, and fetches the status and the
// picture every second.
//
//go:embed page.html
var page []byte

// collector keeps the report of the last round and serves it. Any goroutine may call its
// methods.
type collector struct {
	limit time.Duration // of the skew; 0 for none
	stuck time.Duration // upper bound on the time between the ends of two rounds
	log   *slog.Logger

	mu      sync.Mutex
	rounds  int
	last    *Report   // immutable; nil before the first round has ended
	ended   time.Time // end of the last round; before the first one, the start
	reached bool      // a member has answered in some round
	wide    []byte    // pictures of last
	narrow  []byte
	logged  string // the last logged complaints
}

func newCollector(o *options, log *slog.Logger) *collector {
	// The longest round: the most members, and none answers. The minute is for the proof.
	silent := time.Duration(peers.MaxMembers/concurrent+len(o.fetcher.targets)) * o.fetcher.timeout
	return &collector{limit: o.maxSkew, stuck: silent + max(o.interval, maxInterval) + time.Minute, log: log, ended: time.Now()}
}

// serve makes a report each round until ctx is done, and serves the last one at l. It
// returns the exit status: command.OK, or command.Failed if l fails.
func (o *options) serve(ctx context.Context, l net.Listener, log *slog.Logger) (status int) {
	c := newCollector(o, log)
	server := health.NewServer(c.handler(), log)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the listener failed", "error", err)
			status = command.Failed
			cancel()
		}
	})
	log.Info("serving", "address", l.Addr().String(), "targets", len(o.fetcher.targets))
	o.run(ctx, func(_ int, r *Report) { c.publish(r) })
	brief, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	if server.Shutdown(brief) != nil {
		_ = server.Close()
	}
	serving.Wait()
	return status
}

// publish makes r the last report. It logs the complaints if they have changed.
func (c *collector) publish(r *Report) {
	var big, small bytes.Buffer
	wide.draw(&big, r, nil, nil)
	narrow.draw(&small, r, nil, nil)
	complaints := r.complaints()
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.last == nil
	c.rounds, c.last, c.ended, c.wide, c.narrow = c.rounds+1, r, time.Now(), big.Bytes(), small.Bytes()
	for i := range r.Nodes {
		c.reached = c.reached || r.Nodes[i].Error == ""
	}
	switch {
	case complaints == c.logged && !first:
	case complaints == "":
		c.log.Info("no problems", "nodes", len(r.Nodes))
	default:
		c.log.Warn("problems", "nodes", len(r.Nodes), "problems", complaints)
	}
	c.logged = complaints
}

// complaints returns the kinds of problems with the names of the nodes. It leaves out what
// may change in each round: numbers, and which nodes are disputed.
func (r *Report) complaints() string {
	var parts []string
	for _, v := range []Verdict{Wrong, BoundFalse, Unmeasured, Missing} {
		if names := r.names(v); len(names) > 0 {
			parts = append(parts, words(v.String())+": "+list(names))
		}
	}
	seen := make(map[string]bool)
	for _, p := range r.Problems {
		switch p.Kind {
		case Disputed.String(), skewProblem, partitionProblem, inconsistentProblem, strayProblem, lookupProblem:
			if !seen[p.Kind] {
				parts = append(parts, p.Kind)
			}
			seen[p.Kind] = true
		}
	}
	return strings.Join(parts, "; ")
}

// names returns the names of the nodes with a verdict.
func (r *Report) names(v Verdict) (names []string) {
	for i := range r.Nodes {
		if r.Nodes[i].Has(v) {
			names = append(names, command.Printable(r.Nodes[i].Name))
		}
	}
	return names
}

// handler returns the handler of all paths.
func (c *collector) handler() http.Handler {
	mux := health.Endpoints([]health.Check{{Name: "rounds", Check: c.live}}, []health.Check{{Name: "members", Check: c.ready}}, c, c.log)
	health.ServePage(mux, page, func() any { return c.status() })
	picture := func(path string, current func() []byte) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "image/svg+xml")
			w.Header().Set("Cache-Control", "no-store")
			w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
			c.mu.Lock()
			svg := current()
			c.mu.Unlock()
			if svg == nil {
				http.Error(w, "no round has ended yet", http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write(svg)
		})
	}
	picture("/plot.svg", func() []byte { return c.wide })
	picture("/narrow.svg", func() []byte { return c.narrow })
	return mux
}

// live returns an error if no round has ended for too long.
func (c *collector) live() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since := time.Since(c.ended); since > c.stuck {
		return fmt.Errorf("no round has ended for %v", since.Round(time.Second))
	}
	return nil
}

// ready returns an error until a member has answered. Later problems do not change it: the
// page must stay reachable to show them.
func (c *collector) ready() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.last == nil:
		return errors.New("no round has ended yet")
	case !c.reached:
		return errors.New("no member has answered yet")
	}
	return nil
}

// status is the answer to /status, which the page shows.
type status struct {
	Round      int           `json:"round"` // 0 before the first round has ended
	AgeNS      int64         `json:"age_ns"`
	Nodes      int           `json:"nodes"`
	Wrong      []string      `json:"wrong"` // names
	BoundFalse []string      `json:"bound_false"`
	Summary    []string      `json:"summary"`
	Problems   []problemLine `json:"problems"`
	More       int           `json:"more"` // number of problems that are not in Problems
}

// urgency is the sort key of problems: first wrong clocks and false bounds, last missing and
// unmeasured nodes.
func (p Problem) urgency() int {
	switch p.Kind {
	case Wrong.String(), BoundFalse.String():
		return 0
	case Missing.String(), Unmeasured.String():
		return 2
	}
	return 1
}

// status returns the current status.
func (c *collector) status() status {
	const most = 100 // problems
	c.mu.Lock()
	defer c.mu.Unlock()
	s := status{Round: c.rounds, Wrong: []string{}, BoundFalse: []string{}, Summary: []string{}, Problems: []problemLine{}}
	if c.last == nil {
		return s
	}
	r := c.last
	s.AgeNS, s.Nodes, s.Summary = time.Since(r.Asked).Nanoseconds(), len(r.Nodes), strings.Split(r.summary(), "\n")
	s.Wrong, s.BoundFalse = append(s.Wrong, r.names(Wrong)...), append(s.BoundFalse, r.names(BoundFalse)...)
	problems := slices.Clone(r.Problems)
	slices.SortStableFunc(problems, func(p, q Problem) int { return cmp.Compare(p.urgency(), q.urgency()) })
	for k, p := range problems {
		if k == most {
			s.More = len(problems) - k
			break
		}
		s.Problems = append(s.Problems, problemLine(p))
	}
	return s
}
