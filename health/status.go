package health

import (
	_ "embed"
	"encoding/json"
	"net/http"
)

// page shows the status to people. It has everything in it, and asks for the
// figures of status again and again.
//
//go:embed status.html
var page []byte

// status is what the page shows.
type status struct {
	Version   string           `json:"version"`
	Clock     clockStatus      `json:"clock"`
	Checks    []checkStatus    `json:"checks"`
	Loops     []loopStatus     `json:"loops"`
	Protocols []protocolStatus `json:"protocols"`
}

type clockStatus struct {
	UnixNS       int64           `json:"unix_ns"`
	ZoneOffset   int             `json:"zone_offset_s"`
	Zone         string          `json:"zone"`
	EarlyNS      *int64          `json:"early_ns"` // how far the earliest true time is from UnixNS; null where unknown
	LateNS       *int64          `json:"late_ns"`
	Synced       bool            `json:"synced"`
	Contradicted bool            `json:"contradicted"`
	Error        string          `json:"error"` // why nothing is known
	Steps        uint64          `json:"steps"`
	Upstream     *upstreamStatus `json:"upstream"` // null where there is none
}

type upstreamStatus struct {
	Server   string `json:"server"`
	OffsetNS int64  `json:"offset_ns"`
	BoundNS  int64  `json:"bound_ns"`
	AgeNS    int64  `json:"age_ns"`
}

// checkStatus is that of /live, or of one condition of /ready.
type checkStatus struct {
	Name  string `json:"name"`
	Error string `json:"error"` // empty if all is well
}

type loopStatus struct {
	Turns     uint64 `json:"turns"`
	Panics    uint64 `json:"panics"`
	LongestNS int64  `json:"longest_ns"`
}

type protocolStatus struct {
	Name     string            `json:"name"`
	Requests uint64            `json:"requests"`
	Answers  uint64            `json:"answers"`
	Open     *uint64           `json:"open"` // connections; null for datagrams
	Drops    map[string]uint64 `json:"drops"`
}

// status gathers what there is to show.
func (m *Metrics) status(loops *Loops, ready []Check) status {
	s := status{Version: m.version}
	check := func(name string, err error) {
		c := checkStatus{Name: name}
		if err != nil {
			c.Error = err.Error()
		}
		s.Checks = append(s.Checks, c)
	}
	check("loops", loops.Check())
	for _, c := range ready {
		check(c.Name, c.Check())
	}
	for _, l := range m.loops {
		st := l.Stats()
		s.Loops = append(s.Loops, loopStatus{st.Turns, st.Panics, st.Longest.Nanoseconds()})
	}
	for _, p := range m.traffic {
		s.Protocols = append(s.Protocols, p.status())
	}
	s.Clock = m.clockStatus() // last, for the checks may take a while
	return s
}

func (m *Metrics) clockStatus() clockStatus {
	now := m.clock.Now()
	q := m.clock.Quality(now)
	zone, offset := now.Local().Zone()
	c := clockStatus{
		UnixNS: now.UnixNano(), ZoneOffset: offset, Zone: zone,
		Synced: q.Synced(), Contradicted: q.Contradicted(), Steps: m.clock.Steps(),
	}
	if earliest, latest, ok := q.Bounds(now); ok {
		early, late := earliest.Sub(now).Nanoseconds(), latest.Sub(now).Nanoseconds()
		c.EarlyNS, c.LateNS = &early, &late
	}
	if q.Err != nil {
		c.Error = q.Err.Error()
	}
	if up, ok := q.Upstream(); ok {
		c.Upstream = &upstreamStatus{up.Server, up.Offset.Nanoseconds(), up.Bound.Nanoseconds(), now.Sub(up.At).Nanoseconds()}
	}
	return c
}

func (p protocol) status() protocolStatus {
	s := protocolStatus{Name: p.name, Drops: make(map[string]uint64)}
	for _, t := range p.loops {
		t.Each(func(what, label string, n uint64) {
			switch what {
			case "requests":
				s.Requests += n
			case "answers":
				s.Answers += n
			case "drops":
				s.Drops[label] += n
			case "connections_open":
				if s.Open == nil {
					s.Open = new(uint64)
				}
				*s.Open += n
			}
		})
	}
	return s
}

// servePage serves the page at the root, and its figures at /status.
func servePage(mux *http.ServeMux, current func() status) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		// Nothing of it comes from anywhere else, and it belongs into no frame.
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-cache")
		_, _ = w.Write(page)
	})
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(current())
	})
}
