package health

import (
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// probe answers /live or /ready by an endpoint of package healthcheck. It adds full=1 to
// the request, so that the answer has the result of each check, and answers HEAD, which
// the endpoint refuses. It logs when the set of failing checks changes.
type probe struct {
	path     string
	endpoint http.HandlerFunc
	log      *slog.Logger

	mu     sync.Mutex
	passed bool     // the last result; initially true if a first pass is not logged
	failed []string // the checks that failed in the last result
}

func (p *probe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r = r.Clone(r.Context())
	r.URL.RawQuery = "full=1"
	if r.Method == http.MethodHead {
		r.Method = http.MethodGet
	}
	a := record(p.endpoint, r)
	if r.Method == http.MethodGet {
		p.logChange(a)
	}
	a.sendTo(w)
}

// logChange logs a result if other checks fail than in the last one. The texts of the
// errors do not count: they may contain numbers that change each time.
func (p *probe) logChange(a answered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	passes := a.status == http.StatusOK
	failed, reason := failures(a.body)
	if passes == p.passed && slices.Equal(failed, p.failed) {
		return
	}
	p.passed, p.failed = passes, failed
	if passes {
		p.log.Info(p.path + " passes")
	} else {
		p.log.Warn(p.path+" fails", "reason", reason)
	}
}

// failures returns the names of the failed checks, and a text with their errors.
func failures(body []byte) (failed []string, reason string) {
	var results map[string]string
	if err := json.Unmarshal(body, &results); err != nil {
		return nil, string(body)
	}
	var reasons []string
	for _, name := range slices.Sorted(maps.Keys(results)) {
		if result := results[name]; result != "OK" {
			failed = append(failed, name)
			if !strings.HasPrefix(result, name) { // unless the error begins with the name
				result = name + ": " + result
			}
			reasons = append(reasons, result)
		}
	}
	return failed, strings.Join(reasons, "; ")
}
