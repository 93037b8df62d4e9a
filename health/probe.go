package health

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// probe answers /live or /ready. It makes an endpoint of the library show the result
// of each check, for which the library wants full=1, and answer HEAD, which it
// refuses. When the result is another than the last time it logs it.
type probe struct {
	path     string
	endpoint http.HandlerFunc
	log      *slog.Logger

	mu     sync.Mutex
	passed bool // the last time
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

// logChange logs a result that is another than the last one.
func (p *probe) logChange(a answered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	passes := a.status == http.StatusOK
	if passes == p.passed {
		return
	}
	p.passed = passes
	if passes {
		p.log.Info(p.path + " passes")
	} else {
		p.log.Warn(p.path+" fails", "reason", failures(a.body))
	}
}

// failures returns the checks that fail, with their errors.
func failures(body []byte) string {
	var results map[string]string
	if err := json.Unmarshal(body, &results); err != nil {
		return string(body)
	}
	var failed []string
	for name, result := range results {
		if result != "OK" {
			failed = append(failed, fmt.Sprintf("%s: %s", name, result))
		}
	}
	slices.Sort(failed)
	return strings.Join(failed, "; ")
}
