package health

import (
	"runtime"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"nowd/answer"
	"nowd/clock"
	"nowd/reactor"
)

// LoopStats has the counters of an event loop: *reactor.Loop.
type LoopStats interface{ Stats() reactor.Stats }

// LogStats has the number of dropped log lines. Any goroutine may call Dropped.
type LogStats interface{ Dropped() uint64 }

// Metrics is a prometheus.Collector of a service. It reads the counters that the loops have
// published, and no loop waits for it. Add everything before the first use.
type Metrics struct {
	clock     *clock.Clock
	version   string
	lines     LogStats
	loops     []LoopStats
	protocols []protocol
	driver    *driver    // nil if no driver answers
	peers     PeersStats // nil if NOWD_PEERS is off
}

var _ prometheus.Collector = (*Metrics)(nil)

// NewMetrics returns the metrics of a service with this version, clock and log.
func NewMetrics(c *clock.Clock, version string, lines LogStats) *Metrics {
	return &Metrics{clock: c, version: version, lines: lines}
}

// AddLoop adds an event loop. Its label is its number, from 0.
func (m *Metrics) AddLoop(l LoopStats) { m.loops = append(m.loops, l) }

// AddUDP adds a UDP protocol with its name in the metrics. forms are the forms of its
// answers, and loops has its counters on each loop.
func (m *Metrics) AddUDP(name string, forms []answer.Form, loops []UDPStats) {
	m.protocols = append(m.protocols, &udpProtocol{name, forms, loops})
}

// AddTCP adds a TCP protocol with its name in the metrics. forms are the forms of its
// answers, and loops has its counters on each loop.
func (m *Metrics) AddTCP(name string, forms []answer.Form, loops []TCPStats) {
	m.protocols = append(m.protocols, &tcpProtocol{name, forms, loops})
}

// AddDriver adds the driver of NOWD_XDP.
func (m *Metrics) AddDriver(d DriverStats) { m.driver = &driver{d} }

// SetPeers adds the measurements of NOWD_PEERS.
func (m *Metrics) SetPeers(p PeersStats) { m.peers = p }

// registry returns a registry of metrics, of the process's metrics and of those of Go's
// runtime.
func registry(metrics prometheus.Collector) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(metrics, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

const namespace = "nowd"

func desc(subsystem, name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName(namespace, subsystem, name), help, labels, nil)
}

var (
	descBuild = desc("", "build_info", "A constant 1, labeled with the version of nowd and of Go.", "version", "goversion")

	descLinesDropped = desc("log", "lines_dropped_total", "Log lines dropped because the reader of the log was too slow or writing failed.")

	descTurns   = desc("loop", "turns_total", "Turns of the event loop: in each it waits once for events and handles them.", "loop")
	descPanics  = desc("loop", "panics_total", "Panics of handlers, timers and posted functions.", "loop")
	descDropped = desc("loop", "dropped_descriptors_total", "Descriptors that the loop removed because their handler panicked or did not handle an error.", "loop")
	descRun     = desc("loop", "handler_duration_seconds", "Running time of handlers. A loop runs one handler at a time.", "loop")
	descLongest = desc("loop", "handler_duration_max_seconds", "Longest running time of a handler since the start.", "loop")

	descSynced   = desc("clock", "synced", "1 if the clock is synchronised according to the kernel and the upstream, 0 if not.")
	descMaxError = desc("clock", "max_error_seconds", "Upper bound on the error of the clock, according to the kernel.")
	descEstError = desc("clock", "estimated_error_seconds", "Estimated error of the clock, according to the kernel.")
	descOffset   = desc("clock", "offset_seconds", "Offset that the kernel still has to slew.")
	descBound    = desc("clock", "error_bound_seconds", "Upper bound on the error of the clock, according to the kernel and the upstream. The word bound and NTP's root dispersion tell it to clients.")
	descContra   = desc("clock", "contradicted", "1 if the upstream contradicts the kernel's error bound, 0 if not.")
	descUpOffset = desc("clock", "upstream_offset_seconds", "Offset of the upstream's clock from this host's at the last comparison; positive if this clock is behind.")
	descUpBound  = desc("clock", "upstream_error_bound_seconds", "Error bound of nowd_clock_upstream_offset_seconds.")
	descSteps    = desc("clock", "steps_total", "Steps of the clock that nowd detected.")
)

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBuild, descLinesDropped, descTurns, descPanics, descDropped, descRun, descLongest,
		descSynced, descMaxError, descEstError, descOffset, descSteps, descBound, descContra, descUpOffset, descUpBound,
	} {
		ch <- d
	}
	for _, t := range trafficMetrics {
		ch <- t.desc
	}
	for _, d := range slices.Concat(driverDescs, peersDescs) {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descBuild, 1, m.version, runtime.Version())
	ch <- prometheus.MustNewConstMetric(descLinesDropped, prometheus.CounterValue, float64(m.lines.Dropped()))
	m.collectClock(ch, gauge)
	for i, l := range m.loops {
		collectLoop(ch, strconv.Itoa(i), l.Stats())
	}
	for _, p := range m.protocols {
		p.collect(ch)
	}
	if m.driver != nil {
		m.driver.collect(ch)
	}
	m.collectPeers(gauge)
}

// collectClock emits the metrics of the clock, without those that are unknown.
func (m *Metrics) collectClock(ch chan<- prometheus.Metric, gauge func(*prometheus.Desc, float64, ...string)) {
	now := m.clock.Now()
	q := m.clock.Quality(now)
	gauge(descSynced, boolValue(q.Synced()))
	gauge(descContra, boolValue(q.Contradicted()))
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

func boolValue(b bool) float64 {
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
	counter(descDropped, s.Removed)
	ch <- prometheus.MustNewConstMetric(descLongest, prometheus.GaugeValue, s.LongestRun.Seconds(), loop)
	buckets, runs := make(map[float64]uint64), uint64(0)
	for _, r := range s.RunTimes {
		if runs += r.Count; r.UpperBound > 0 {
			buckets[r.UpperBound.Seconds()] = runs
		}
	}
	ch <- prometheus.MustNewConstHistogram(descRun, runs, s.TotalRunTime.Seconds(), buckets, loop)
}
