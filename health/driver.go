package health

import (
	"github.com/prometheus/client_golang/prometheus"

	"nowd/xdp"
)

// DriverStats has the counters of a network interface's driver: *xdp.Driver.
type DriverStats interface {
	String() string
	Attached() bool
	Stats(p xdp.Protocol) xdp.Stats
}

// driver collects the metrics of a driver. Its answers and drops are also counted in the
// metrics of the protocols.
type driver struct{ stats DriverStats }

var (
	descAttached   = desc("xdp", "attached", "1 if the XDP program is attached to the interface, 0 if the interface is gone or nowd is shutting down.", "interface")
	descXDPAnswers = desc("xdp", "answers_total", "Answers sent by the driver of the interface. nowd_answers_total includes them.", "protocol")
	descXDPStale   = desc("xdp", "stale_total", "Requests that the driver passed to the sockets because its time had expired or the clock was stepped.", "protocol")

	driverDescs = []*prometheus.Desc{descAttached, descXDPAnswers, descXDPStale}
)

// driverProtocols are the protocols of a driver, with their names in the metrics.
var driverProtocols = []struct {
	name string
	xdp.Protocol
}{{"udp", xdp.Text}, {"ntp", xdp.NTP}}

func (d driver) collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(descAttached, prometheus.GaugeValue, boolValue(d.stats.Attached()), d.stats.String())
	for _, p := range driverProtocols {
		s := d.stats.Stats(p.Protocol)
		ch <- prometheus.MustNewConstMetric(descXDPAnswers, prometheus.CounterValue, float64(s.Answers), p.name)
		ch <- prometheus.MustNewConstMetric(descXDPStale, prometheus.CounterValue, float64(s.Stale), p.name)
	}
}

// driverStatus is the driver's part of the status.
type driverStatus struct {
	Interface string `json:"interface"`
	Attached  bool   `json:"attached"`
	Answers   uint64 `json:"answers"`
	Stale     uint64 `json:"stale"`
}

func (d driver) status() *driverStatus {
	st := &driverStatus{Interface: d.stats.String(), Attached: d.stats.Attached()}
	for _, p := range driverProtocols {
		s := d.stats.Stats(p.Protocol)
		st.Answers += s.Answers
		st.Stale += s.Stale
	}
	return st
}
