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

// probe answers /live or /ready. It makes an endpoint of the library show the result
// of each check, for which the library wants full=1, and answer HEAD, which it
// refuses. It logs a result if another set of checks fails than the last time.
type probe struct {
	path     string
	endpoint http.HandlerFunc
	log      *slog.Logger

	mu     sync.Mutex
	passed bool     // the last time; before the first time, whether to expect so
	failed []string // checks that failed the last time
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

// logChange logs a result that is another than the last one. A check that fails
// again, with another error, makes no other result: an error may have a number in it
// that changes each time.
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

// failures returns the checks that fail, and a text with their errors.
func failures(body []byte) (failed []string, reason string) {
	var results map[string]string
	if err := json.Unmarshal(body, &results); err != nil {
		return nil, string(body)
	}
	var reasons []string
	for _, name := range slices.Sorted(maps.Keys(results)) {
		if result := results[name]; result != "OK" {
			failed = append(failed, name)
			if !strings.HasPrefix(result, name) { // some errors name their check themselves
				result = name + ": " + result
			}
			reasons = append(reasons, result)
		}
	}
	return failed, strings.Join(reasons, "; ")
}
