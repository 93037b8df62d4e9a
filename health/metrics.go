package health

import (
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"nowd/clock"
	"nowd/reactor"
)

// Traffic is the traffic of one protocol on one loop.
type Traffic interface {
	// Each calls f with each figure: what it counts, the label that tells it
	// from others of that, if there is one, and the count.
	Each(f func(what, label string, n uint64))
}

// LoopStats is a loop that tells what it has done.
type LoopStats interface{ Stats() reactor.Stats }

// Metrics is a prometheus.Collector of what the service does. It reads what the
// loops have published; none of them waits for it.
type Metrics struct {
	clock   *clock.Clock
	version string
	loops   []LoopStats
	traffic []protocol
}

type protocol struct {
	name  string
	loops []Traffic
}

// NewMetrics returns the metrics of a service.
func NewMetrics(c *clock.Clock, version string) *Metrics { return &Metrics{clock: c, version: version} }

// AddLoop adds a loop, which is known by its number.
func (m *Metrics) AddLoop(l LoopStats) { m.loops = append(m.loops, l) }

// AddTraffic adds a protocol's traffic, one part for each loop.
func (m *Metrics) AddTraffic(name string, loops []Traffic) {
	m.traffic = append(m.traffic, protocol{name, loops})
}

// Registry returns a registry of m, and of what Go's runtime and the kernel say
// of the process.
func (m *Metrics) Registry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

const namespace = "nowd"

func desc(subsystem, name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
}

var (
	descBuild = desc("", "build_info", "A constant 1, labeled with the version of nowd and of Go.", "version", "goversion")

	descTurns   = desc("loop", "turns_total", "Turns of the event loop, each of which waits once.", "loop")
	descPanics  = desc("loop", "panics_total", "Panics of handlers, timers and posted functions.", "loop")
	descDropped = desc("loop", "dropped_descriptors_total", "Descriptors that the loop removed: of handlers that panicked or did not deal with an error.", "loop")
	descRun     = desc("loop", "handler_duration_seconds", "How long handlers ran, and everyone else waited.", "loop")
	descLongest = desc("loop", "handler_duration_max_seconds", "The longest run of a handler.", "loop")

	descSynced   = desc("clock", "synced", "1 if the clock is synchronised, by what the kernel and the upstream say, 0 if not.")
	descMaxError = desc("clock", "max_error_seconds", "How far off the clock may be, as the kernel says.")
	descEstError = desc("clock", "estimated_error_seconds", "How far off the clock is estimated to be.")
	descOffset   = desc("clock", "offset_seconds", "What the kernel has still to slew.")
	descBound    = desc("clock", "error_bound_seconds", "How far off the clock may be by all that is known: what bound answers and NTP's root dispersion say.")
	descContra   = desc("clock", "contradicted", "1 if the kernel and the upstream cannot both be right, 0 if they can.")
	descUpOffset = desc("clock", "upstream_offset_seconds", "What the clock was behind the upstream by when they were compared last.")
	descUpBound  = desc("clock", "upstream_error_bound_seconds", "How far off that comparison may be.")
	descSteps    = desc("clock", "steps_total", "How often the clock was seen to jump.")
)

// trafficDescs are by what a Traffic counts. Where a label is named, each
// figure has one.
var trafficDescs = map[string]struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}{
	"requests":           {desc("", "requests_total", "Datagrams and requests received.", "protocol"), prometheus.CounterValue},
	"answers":            {desc("", "answers_total", "Answers given, by their form; error is an HTTP answer without a time.", "protocol", "form"), prometheus.CounterValue},
	"drops":              {desc("", "drops_total", "Requests not answered, by reason.", "protocol", "reason"), prometheus.CounterValue},
	"receive_errors":     {desc("", "receive_errors_total", "Errors in receiving from a socket or accepting connections.", "protocol"), prometheus.CounterValue},
	"receive_overflows":  {desc("", "receive_overflows_total", "Datagrams that the kernel dropped because the receive buffer was full.", "protocol"), prometheus.CounterValue},
	"connections":        {desc("", "connections_total", "Connections accepted.", "protocol"), prometheus.CounterValue},
	"connections_open":   {desc("", "connections_open", "Connections that are open.", "protocol"), prometheus.GaugeValue},
	"connections_closed": {desc("", "connections_closed_total", "Connections closed otherwise than by their client, by reason.", "protocol", "reason"), prometheus.CounterValue},
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBuild, descTurns, descPanics, descDropped, descRun, descLongest,
		descSynced, descMaxError, descEstError, descOffset, descSteps, descBound, descContra, descUpOffset, descUpBound,
	} {
		ch <- d
	}
	for _, t := range trafficDescs {
		ch <- t.desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descBuild, 1, m.version, runtime.Version())
	m.collectClock(ch, gauge)
	for i, l := range m.loops {
		collectLoop(ch, strconv.Itoa(i), l.Stats())
	}
	for _, p := range m.traffic {
		p.collect(ch)
	}
}

// collectClock says nothing of what nothing is known of.
func (m *Metrics) collectClock(ch chan<- prometheus.Metric, gauge func(*prometheus.Desc, float64, ...string)) {
	now := m.clock.Now()
	q := m.clock.Quality(now)
	gauge(descSynced, truth(q.Synced()))
	gauge(descContra, truth(q.Contradicted()))
	if bound, ok := q.Error(now); ok {
		gauge(descBound, bound.Seconds())
	}
	if up, ok := q.Upstream(); ok {
		gauge(descUpOffset, up.Offset.Seconds())
		gauge(descUpBound, up.Bound.Seconds())
	}
	if q.Err == nil {
		gauge(descMaxError, q.MaxError.Seconds())
		gauge(descEstError, q.EstError.Seconds())
		gauge(descOffset, q.Offset.Seconds())
	}
	ch <- prometheus.MustNewConstMetric(descSteps, prometheus.CounterValue, float64(m.clock.Steps()))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func collectLoop(ch chan<- prometheus.Metric, loop string, s reactor.Stats) {
	counter := func(d *prometheus.Desc, n uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), loop)
	}
	counter(descTurns, s.Turns)
	counter(descPanics, s.Panics)
	counter(descDropped, s.Dropped)
	ch <- prometheus.MustNewConstMetric(descLongest, prometheus.GaugeValue, s.Longest.Seconds(), loop)
	buckets, runs := make(map[float64]uint64), uint64(0)
	for _, r := range s.RunTimes {
		if runs += r.Count; r.Max > 0 {
			buckets[r.Max.Seconds()] = runs
		}
	}
	ch <- prometheus.MustNewConstHistogram(descRun, runs, s.RunTime.Seconds(), buckets, loop)
}

// collect adds up what a protocol's loops have counted.
func (p protocol) collect(ch chan<- prometheus.Metric) {
	type key struct{ what, label string }
	sums := make(map[key]uint64)
	var order []key
	for _, t := range p.loops {
		t.Each(func(what, label string, n uint64) {
			k := key{what, label}
			if _, ok := sums[k]; !ok {
				order = append(order, k)
			}
			sums[k] += n
		})
	}
	for _, k := range order {
		t := trafficDescs[k.what]
		labels := []string{p.name}
		if k.label != "" {
			labels = append(labels, k.label)
		}
		ch <- prometheus.MustNewConstMetric(t.desc, t.kind, float64(sums[k]), labels...)
	}
}
