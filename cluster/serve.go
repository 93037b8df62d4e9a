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

	"nowd/health"
	"nowd/peers"
)

// page is the page for people. It needs no other file, and fetches the status and
// the picture again and again.
//
//go:embed page.html
var page []byte

// collector keeps the report of the last round, and serves it. Any goroutine may call
// its methods.
type collector struct {
	limit time.Duration // of the skew; 0 for none
	stuck time.Duration // upper bound on the time from the end of one round to that of the next
	log   *slog.Logger

	mu      sync.Mutex
	rounds  int
	last    *Report   // never changed; nil before the first round has ended
	ended   time.Time // when the last round did; before the first one, when the collector began
	reached bool      // a member has answered, in any round
	wide    []byte    // pictures of last
	narrow  []byte
	logged  string // the complaints that were logged last
}

func newCollector(o *options, log *slog.Logger) *collector {
	// If no member answers, and there are as many as there can be, a round takes this
	// long, and what is proved afterwards a while.
	silent := time.Duration(peers.MaxMembers/concurrent+len(o.fetcher.targets)) * o.fetcher.timeout
	return &collector{limit: o.maxSkew, stuck: silent + max(o.interval, maxInterval) + time.Minute, log: log, ended: time.Now()}
}

// serve asks all members again and again until ctx is done, and serves what it finds
// at l. The exit status is 0, or 1 if it cannot go on.
func (o *options) serve(ctx context.Context, l net.Listener, log *slog.Logger) (status int) {
	c := newCollector(o, log)
	server := health.NewServer(c.handler(), log)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("cannot go on", "error", err)
			status = 1
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

// publish makes a report the last one. It logs the report's complaints, once per
// change.
func (c *collector) publish(r *Report) {
	var big, small bytes.Buffer
	wide.draw(&big, r, nil, nil)
	narrow.draw(&small, r, nil, nil)
	said := r.complaints()
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.last == nil
	c.rounds, c.last, c.ended, c.wide, c.narrow = c.rounds+1, r, time.Now(), big.Bytes(), small.Bytes()
	for i := range r.Nodes {
		c.reached = c.reached || r.Nodes[i].Error == ""
	}
	switch {
	case said == c.logged && !first:
	case said == "":
		c.log.Info("all is well", "nodes", len(r.Nodes))
	default:
		c.log.Warn("not all is well", "nodes", len(r.Nodes), "problems", said)
	}
	c.logged = said
}

// complaints returns the problems, with the names of the nodes that have them, but
// without what changes in each round: figures, and which nodes are disputed.
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

// names returns those of the nodes that have a verdict.
func (r *Report) names(v Verdict) (names []string) {
	for i := range r.Nodes {
		if r.Nodes[i].Has(v) {
			names = append(names, printable(r.Nodes[i].Name))
		}
	}
	return names
}

// handler returns the handler of all that is served.
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

// live returns an error if rounds do not end any more.
func (c *collector) live() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since := time.Since(c.ended); since > c.stuck {
		return fmt.Errorf("no round has ended for %v", since.Round(time.Second))
	}
	return nil
}

// ready returns an error until a member has answered. Later, what is wrong is there
// for people to see.
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

// status is what the page says, as JSON.
type status struct {
	Round      int           `json:"round"` // 0 before the first one has ended
	AgeNS      int64         `json:"age_ns"`
	Nodes      int           `json:"nodes"`
	Wrong      []string      `json:"wrong"` // names
	BoundFalse []string      `json:"bound_false"`
	Summary    []string      `json:"summary"`
	Problems   []problemLine `json:"problems"`
	More       int           `json:"more"` // problems that are not listed
}

// urgency sorts problems: those first that name a node whose clock or bound is wrong,
// and those last that each silent node has.
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
