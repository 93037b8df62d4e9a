// Package health serves the state of the service over HTTP: /live, /ready,
// /metrics, and a page for people.
package health

import (
	"log/slog"
	"net/http"

	"github.com/heptiolabs/healthcheck"
	"github.com/prometheus/client_golang/prometheus"
)

// Check is a condition of liveness or readiness. Every client of /live or /ready can
// read its error.
type Check struct {
	Name  string // unique
	Check func() error
}

// Handler returns the handler of Endpoints (live are the loops), and of / (a page for
// people, with its data at /status).
func Handler(loops *Loops, ready []Check, metrics *Metrics, log *slog.Logger) http.Handler {
	mux := Endpoints([]Check{{"loops", loops.Check}}, ready, metrics, log)
	ServePage(mux, page, func() any { return metrics.status(loops, ready) })
	return mux
}

// Endpoints returns a handler of /live (the checks in live), /ready (those in live
// and in ready) and /metrics. /live and /ready answer with the result of each check
// in JSON. It answers GET and HEAD. It logs when the result of /live or /ready
// changes, and when it fails for another check than before. /metrics has metrics, and
// those of the process and of Go's runtime.
func Endpoints(live, ready []Check, metrics prometheus.Collector, log *slog.Logger) *http.ServeMux {
	checks := healthcheck.NewHandler()
	for _, c := range live {
		checks.AddLivenessCheck(c.Name, c.Check)
	}
	for _, c := range ready {
		checks.AddReadinessCheck(c.Name, c.Check)
	}
	mux := http.NewServeMux()
	mux.Handle(Live, &probe{path: Live, endpoint: checks.LiveEndpoint, log: log, passed: true})
	mux.Handle(Ready, &probe{path: Ready, endpoint: checks.ReadyEndpoint, log: log})
	mux.Handle("GET /metrics", newScrape(registry(metrics)))
	return mux
}
