// Package health tells over HTTP how the service is: /live, /ready, /metrics,
// and a page for people.
package health

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/heptiolabs/healthcheck"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is a condition of being ready. Its error is shown to whoever asks.
type Check struct {
	Name  string // nobody else's
	Check func() error
}

// Handler answers /live by the loops alone, /ready by the checks as well, each
// with a line of JSON for every check, /metrics with the metrics, and / with a
// page for people. It answers GET and HEAD.
func Handler(loops *Loops, ready []Check, metrics *Metrics) http.Handler {
	checks := healthcheck.NewHandler()
	checks.AddLivenessCheck("loops", loops.Check)
	for _, c := range ready {
		checks.AddReadinessCheck(c.Name, c.Check)
	}
	mux := http.NewServeMux()
	mux.Handle("/live", detailed(checks.LiveEndpoint))
	mux.Handle("/ready", detailed(checks.ReadyEndpoint))
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics.Registry(), promhttp.HandlerOpts{}))
	servePage(mux, func() status { return metrics.status(loops, ready) })
	return mux
}

// detailed has the library say what it found, which it does only when asked
// for it, and answer HEAD, which it does not know. (net/http leaves the body
// out, for it goes by the request that it has read.)
func detailed(endpoint http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.Clone(r.Context())
		r.URL.RawQuery = "full=1"
		if r.Method == http.MethodHead {
			r.Method = http.MethodGet
		}
		endpoint(w, r)
	})
}

// Server returns a server for handler, which logs its errors. It is not the
// loops': it is alive when they are not.
func Server(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}
