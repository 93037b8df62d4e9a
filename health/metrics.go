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

// LoopStats counts what an event loop does: *reactor.Loop.
type LoopStats interface{ Stats() reactor.Stats }

// LogStats counts the lines of the log that were dropped. It is for any goroutine.
type LogStats interface{ Dropped() uint64 }

// Metrics is a prometheus.Collector of what the service does. It reads the counts
// that the loops have published, and no loop waits for it. Add everything before
// the first use.
type Metrics struct {
	clock     *clock.Clock
	version   string
	lines     LogStats
	loops     []LoopStats
	protocols []protocol
	driver    *driver    // nil if no driver answers
	peers     PeersStats // nil if there is none
}

var _ prometheus.Collector = (*Metrics)(nil)

// NewMetrics returns the metrics of a service of this version, whose clock is c, and
// whose log writes lines.
func NewMetrics(c *clock.Clock, version string, lines LogStats) *Metrics {
	return &Metrics{clock: c, version: version, lines: lines}
}

// AddLoop adds an event loop. Metrics name it by its number, from 0 on.
func (m *Metrics) AddLoop(l LoopStats) { m.loops = append(m.loops, l) }

// AddUDP adds a protocol over UDP by the name that metrics have for it. forms are
// the forms of its answers, and loops has its counts on each loop.
func (m *Metrics) AddUDP(name string, forms []answer.Form, loops []UDPStats) {
	m.protocols = append(m.protocols, &udpProtocol{name, forms, loops})
}

// AddTCP adds a protocol over TCP by the name that metrics have for it. forms are
// the forms of its answers, and loops has its counts on each loop.
func (m *Metrics) AddTCP(name string, forms []answer.Form, loops []TCPStats) {
	m.protocols = append(m.protocols, &tcpProtocol{name, forms, loops})
}

// AddDriver adds the driver of a network interface that answers by itself.
func (m *Metrics) AddDriver(d DriverStats) { m.driver = &driver{d} }

// SetPeers adds the links to other members of a cluster.
func (m *Metrics) SetPeers(p PeersStats) { m.peers = p }

// registry returns a registry of metrics, and of those of the process and of Go's
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

	descLinesDropped = desc("log", "lines_dropped_total", "Lines of the log that were dropped, because its reader was too slow or writing failed.")

	descTurns   = desc("loop", "turns_total", "Turns of the event loop, each of which waits once.", "loop")
	descPanics  = desc("loop", "panics_total", "Panics of handlers, timers and posted functions.", "loop")
	descDropped = desc("loop", "dropped_descriptors_total", "Descriptors that the loop removed: of handlers that panicked or did not deal with an error.", "loop")
	descRun     = desc("loop", "handler_duration_seconds", "How long handlers ran, while all others waited.", "loop")
	descLongest = desc("loop", "handler_duration_max_seconds", "The longest time that a handler ran.", "loop")

	descSynced   = desc("clock", "synced", "1 if the clock is synchronised, by what the kernel and the upstream say, 0 if not.")
	descMaxError = desc("clock", "max_error_seconds", "How far off the clock may be, as the kernel says.")
	descEstError = desc("clock", "estimated_error_seconds", "How far off the clock is estimated to be.")
	descOffset   = desc("clock", "offset_seconds", "The offset that the kernel has yet to slew.")
	descBound    = desc("clock", "error_bound_seconds", "How far off the clock may be, by the kernel and the upstream: the basis of bound answers and of NTP's root dispersion.")
	descContra   = desc("clock", "contradicted", "1 if the kernel and the upstream cannot both be right, 0 if they can.")
	descUpOffset = desc("clock", "upstream_offset_seconds", "How far the clock was behind the upstream when they were last compared.")
	descUpBound  = desc("clock", "upstream_error_bound_seconds", "How far off nowd_clock_upstream_offset_seconds may be.")
	descSteps    = desc("clock", "steps_total", "Steps of the clock that were seen.")
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

// collectClock emits the metrics of the clock. It omits values that are unknown.
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
