// Package health serves the state of the service over HTTP: /live, /ready, /metrics, and a
// page for people with its data at /status.
package health

import (
	"log/slog"
	"net/http"

	"github.com/heptiolabs/healthcheck"
	"github.com/prometheus/client_golang/prometheus"
)

// Check is a condition of liveness or readiness. /live and /ready show its error to every
// client.
type Check struct {
	Name  string // unique
	Check func() error
}

// Handler returns the handler of a nowd: Endpoints with loops as the check of /live, and a
// page at / with its data at /status.
func Handler(loops *Loops, ready []Check, metrics *Metrics, log *slog.Logger) http.Handler {
	mux := Endpoints([]Check{{"loops", loops.Check}}, ready, metrics, log)
	ServePage(mux, page, func() any { return metrics.status(loops, ready) })
	return mux
}

// Endpoints returns a handler of GET and HEAD for three paths. /live runs the checks in
// live, /ready those in live and in ready; both answer with the result of each check, as
// JSON. /metrics has metrics, and those of the process and of Go's runtime. The handler logs
// when /live or /ready begins to fail, to pass, or to fail because of other checks.
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
