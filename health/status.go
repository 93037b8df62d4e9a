package health

import (
	_ "embed"
	"encoding/json"
	"net/http"
)

// page is the page for people. It loads no other file, and fetches /status every second.
//
//go:embed status.html
var page []byte

// status is the answer to /status, which the page shows.
type status struct {
	Version   string           `json:"version"`
	Clock     clockStatus      `json:"clock"`
	Checks    []checkStatus    `json:"checks"`
	Loops     []loopStatus     `json:"loops"`
	Protocols []protocolStatus `json:"protocols"`
	Driver    *driverStatus    `json:"driver"` // null if no driver answers
	Peers     *peersStatus     `json:"peers"`  // null if NOWD_PEERS is off
}

type clockStatus struct {
	UnixNS       int64           `json:"unix_ns"`
	ZoneOffset   int             `json:"zone_offset_s"`
	Zone         string          `json:"zone"`
	EarlyNS      *int64          `json:"early_ns"` // the earliest true time minus UnixNS; null if unknown
	LateNS       *int64          `json:"late_ns"`  // the latest true time minus UnixNS; null if unknown
	Synced       bool            `json:"synced"`
	Contradicted bool            `json:"contradicted"`
	Error        string          `json:"error"` // why the clock's quality is unknown; empty if it is known
	Steps        uint64          `json:"steps"`
	Upstream     *upstreamStatus `json:"upstream"` // null without a measurement
}

type upstreamStatus struct {
	Server   string `json:"server"`
	OffsetNS int64  `json:"offset_ns"`
	BoundNS  int64  `json:"bound_ns"`
	AgeNS    int64  `json:"age_ns"`
}

// checkStatus is the result of one check of /live or /ready.
type checkStatus struct {
	Name  string `json:"name"`
	Error string `json:"error"` // empty if it passes
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
	Open     *uint64           `json:"open"` // open connections; null for UDP
	Drops    map[string]uint64 `json:"drops"`
}

// status returns the current status. It runs all checks.
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
		s.Loops = append(s.Loops, loopStatus{st.Turns, st.Panics, st.LongestRun.Nanoseconds()})
	}
	for _, p := range m.protocols {
		s.Protocols = append(s.Protocols, p.status())
	}
	if m.driver != nil {
		s.Driver = m.driver.status()
	}
	s.Peers = m.peersStatus()
	s.Clock = m.clockStatus() // last, since the checks may take long
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

// ServePage serves a page for people at /, and the result of current, as JSON, at /status.
func ServePage(mux *http.ServeMux, page []byte, current func() any) {
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		// The page loads nothing from other hosts, and no frame may contain it.
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
