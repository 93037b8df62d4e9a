package health

import (
	"github.com/prometheus/client_golang/prometheus"

	"nowd/answer"
	"nowd/guard"
	"nowd/tcp"
	"nowd/udp"
)

// UDPStats has the counters of one UDP protocol on one loop: *udp.Counters.
type UDPStats interface{ Stats() udp.Stats }

// TCPStats has the counters of one TCP protocol on one loop: *tcp.Counters.
type TCPStats interface{ Stats() tcp.Stats }

// protocol collects the metrics and the status of a protocol.
type protocol interface {
	collect(ch chan<- prometheus.Metric)
	status() protocolStatus
}

// metric is a metric of a protocol. Its first label is the protocol's name.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func counter(name, help string, label ...string) *metric {
	return &metric{desc("", name, help, append([]string{"protocol"}, label...)...), prometheus.CounterValue}
}

// emitFunc emits one series of a protocol.
type emitFunc func(m *metric, n uint64, label ...string)

// emitTo returns a function that emits the series of a protocol to ch.
func emitTo(ch chan<- prometheus.Metric, protocol string) emitFunc {
	return func(m *metric, n uint64, label ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(n), append([]string{protocol}, label...)...)
	}
}

var (
	metricRequests          = counter("requests_total", "Requests received: datagrams over UDP, answered requests over TCP.")
	metricAnswers           = counter("answers_total", "Answers sent, by form. The form error is an HTTP answer without a time.", "form")
	metricDrops             = counter("drops_total", "Requests not answered, by reason.", "reason")
	metricReceiveErrors     = counter("receive_errors_total", "Errors of receiving datagrams or accepting connections.")
	metricReceiveOverflows  = counter("receive_overflows_total", "Datagrams that the kernel dropped because the receive buffer was full.")
	metricReplacements      = counter("sender_replacements_total", "Replacements of a sending socket whose send buffer stayed full.")
	metricConnections       = counter("connections_total", "Connections accepted.")
	metricConnectionsOpen   = &metric{desc("", "connections_open", "Open connections.", "protocol"), prometheus.GaugeValue}
	metricConnectionsClosed = counter("connections_closed_total", "Connections that nowd closed or that failed, by reason.", "reason")

	trafficMetrics = []*metric{metricRequests, metricAnswers, metricDrops, metricReceiveErrors, metricReceiveOverflows, metricReplacements, metricConnections, metricConnectionsOpen, metricConnectionsClosed}
)

// udpProtocol is a protocol over UDP.
type udpProtocol struct {
	name  string
	forms []answer.Form // of its answers
	loops []UDPStats
}

func (p *udpProtocol) sum() (s udp.Stats) {
	for _, l := range p.loops {
		s.Add(l.Stats())
	}
	return s
}

func (p *udpProtocol) collect(ch chan<- prometheus.Metric) {
	emit, s := emitTo(ch, p.name), p.sum()
	emit(metricRequests, s.Requests)
	for _, f := range p.forms {
		emit(metricAnswers, s.Answers[f], f.String())
	}
	eachDrop(&s, func(reason string, n uint64) { emit(metricDrops, n, reason) })
	emit(metricReceiveErrors, s.ReceiveErrors)
	emit(metricReceiveOverflows, s.Overflows)
	emit(metricReplacements, s.Replacements)
}

func (p *udpProtocol) status() protocolStatus {
	s := p.sum()
	st := protocolStatus{Name: p.name, Requests: s.Requests, Drops: make(map[string]uint64)}
	for _, f := range p.forms {
		st.Answers += s.Answers[f]
	}
	eachDrop(&s, func(reason string, n uint64) { st.Drops[reason] = n })
	return st
}

// eachDrop calls f for each reason to drop a datagram, with its label and its count.
func eachDrop(s *udp.Stats, f func(reason string, n uint64)) {
	for _, v := range guard.Drops() {
		f(v.String(), s.Drops[v])
	}
	f("invalid", s.NoRequest)
	f("untrusted", s.Untrusted)
	f("send_error", s.SendErrors)
}

// tcpProtocol is a protocol over TCP.
type tcpProtocol struct {
	name  string
	forms []answer.Form // of its answers
	loops []TCPStats
}

// sum returns the sum of all loops, and the number of answers, HTTP errors included. It is
// also the number of requests.
func (p *tcpProtocol) sum() (s tcp.Stats, answers uint64) {
	for _, l := range p.loops {
		s.Add(l.Stats())
	}
	answers = s.HTTPErrors
	for _, f := range p.forms {
		answers += s.Answers[f]
	}
	return s, answers
}

func (p *tcpProtocol) collect(ch chan<- prometheus.Metric) {
	emit := emitTo(ch, p.name)
	s, answers := p.sum()
	emit(metricRequests, answers)
	for _, f := range p.forms {
		emit(metricAnswers, s.Answers[f], f.String())
	}
	emit(metricAnswers, s.HTTPErrors, "error")
	emit(metricReceiveErrors, s.AcceptErrors)
	emit(metricConnections, s.Accepted)
	emit(metricConnectionsOpen, s.Open)
	emit(metricConnectionsClosed, s.Refused, "refused")
	emit(metricConnectionsClosed, s.Idle, "idle")
	emit(metricConnectionsClosed, s.Evicted, "evicted")
	emit(metricConnectionsClosed, s.Stalled, "stalled")
	emit(metricConnectionsClosed, s.OverBudget, "over_budget")
	emit(metricConnectionsClosed, s.Failed, "failed")
	emit(metricConnectionsClosed, s.Untrusted, "untrusted")
}

func (p *tcpProtocol) status() protocolStatus {
	s, answers := p.sum()
	return protocolStatus{Name: p.name, Requests: answers, Answers: answers, Open: &s.Open, Drops: make(map[string]uint64)}
}
