package health

import (
	"bytes"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapeAge is how long an answer to /metrics is reused.
const scrapeAge = time.Second

// scrape answers /metrics. It renders one answer at a time and reuses it for scrapeAge, so
// that many clients cost little more than one. The answer is always in the text format and
// uncompressed.
type scrape struct {
	render http.Handler

	mu       sync.Mutex
	rendered answered
	at       time.Time
}

func newScrape(r prometheus.Gatherer) *scrape {
	return &scrape{render: promhttp.HandlerFor(r, promhttp.HandlerOpts{DisableCompression: true})}
}

func (s *scrape) ServeHTTP(w http.ResponseWriter, _ *http.Request) { s.current().sendTo(w) }

// current returns an answer that is at most scrapeAge old.
func (s *scrape) current() answered {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() || time.Since(s.at) >= scrapeAge {
		r, _ := http.NewRequest(http.MethodGet, "/metrics", nil) // without the headers of a client: others get this answer too
		s.rendered = record(s.render, r)
		s.at = time.Now()
	}
	return s.rendered
}

// answered is the answer to a request.
type answered struct {
	header http.Header
	status int
	body   []byte
}

// record returns the answer of h to a request.
func record(h http.Handler, r *http.Request) answered {
	w := &answerWriter{header: make(http.Header), status: http.StatusOK}
	h.ServeHTTP(w, r)
	return answered{w.header, w.status, w.body.Bytes()}
}

// sendTo sends a to a client. net/http omits the body of an answer to HEAD.
func (a answered) sendTo(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// answerWriter is an http.ResponseWriter that records the answer.
type answerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *answerWriter) Header() http.Header         { return w.header }
func (w *answerWriter) WriteHeader(status int)      { w.status = status }
func (w *answerWriter) Write(b []byte) (int, error) { return w.body.Write(b) }
