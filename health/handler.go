// Package health serves the state of the service over HTTP: /live, /ready,
// /metrics, and a page for people.
package health

import (
	"log/slog"
	"net/http"

	"github.com/heptiolabs/healthcheck"
)

// Check is a condition of readiness. Its error is shown to anyone who asks.
type Check struct {
	Name  string // unique
	Check func() error
}

// Handler returns the handler of /live (the loops), /ready (the loops and the checks
// in ready), /metrics, and / (a page for people, with its data at /status). /live and
// /ready answer with the result of each check in JSON. It answers GET and HEAD. It
// logs when the result of /live or /ready changes, and when it fails for another
// check than before.
func Handler(loops *Loops, ready []Check, metrics *Metrics, log *slog.Logger) http.Handler {
	checks := healthcheck.NewHandler()
	checks.AddLivenessCheck("loops", loops.Check)
	for _, c := range ready {
		checks.AddReadinessCheck(c.Name, c.Check)
	}
	mux := http.NewServeMux()
	mux.Handle(Live, &probe{path: Live, endpoint: checks.LiveEndpoint, log: log, passed: true})
	mux.Handle(Ready, &probe{path: Ready, endpoint: checks.ReadyEndpoint, log: log})
	mux.Handle("GET /metrics", newScrape(metrics.registry()))
	servePage(mux, func() status { return metrics.status(loops, ready) })
	return mux
}
