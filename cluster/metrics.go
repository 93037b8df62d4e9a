package cluster

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*collector)(nil)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prometheus.BuildFQName("nowd", "cluster", name), help, labels, nil)
}

var (
	descNodes        = desc("nodes", "Members of the cluster, those that do not answer included.")
	descUnmeasured   = desc("unmeasured_nodes", "Members that no measurement connects with the largest group of members, those that do not answer included.")
	descSkewMax      = desc("skew_max_seconds", "Upper bound on how far any two clocks differ that measurements connect.")
	descSkewMin      = desc("skew_min_seconds", "Lower bound on how far some two clocks differ.")
	descSkewLimit    = desc("skew_limit_seconds", "How far any two clocks may differ: -max-skew.")
	descInconsistent = desc("inconsistent_cycles", "Cycles of measurements that cannot all be true.")
	descAge          = desc("round_age_seconds", "Time since the members were asked last, in a round that has ended.")
	descOffsetMin    = desc("node_offset_min_seconds", "Lower bound on how far a member's clock is ahead of the majority's.", "node")
	descOffsetMax    = desc("node_offset_max_seconds", "Upper bound on how far a member's clock is ahead of the majority's.", "node")
	descWrong        = desc("node_wrong", "1 if a member's clock is proved wrong, 0 if it is not.", "node")
	descBoundFalse   = desc("node_bound_false", "1 if the error bound that a member claims is proved false, 0 if it is not.", "node")
	descNodeBlank    = desc("node_unmeasured", "1 if no measurement connects a member with the largest group of members, or it does not answer, 0 otherwise.", "node")
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descNodes, descUnmeasured, descSkewMax, descSkewMin, descSkewLimit, descInconsistent, descAge,
		descOffsetMin, descOffsetMax, descWrong, descBoundFalse, descNodeBlank,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It omits values that are unknown: all of
// them before the first round has ended, and the offset of a member that is not
// measured.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	if c.limit > 0 {
		gauge(descSkewLimit, c.limit.Seconds())
	}
	c.mu.Lock()
	r := c.last
	c.mu.Unlock()
	if r == nil {
		return
	}
	gauge(descAge, time.Since(r.Asked).Seconds())
	gauge(descNodes, float64(len(r.Nodes)))
	gauge(descInconsistent, float64(len(r.Cycles)))
	if len(r.Partitions) > 0 {
		gauge(descSkewMax, r.Most.Seconds())
		gauge(descSkewMin, r.Least.Seconds())
	}
	unmeasured, labels := 0, r.labels()
	for i := range r.Nodes {
		n := &r.Nodes[i]
		if n.apart() {
			unmeasured++
		}
		gauge(descNodeBlank, boolValue(n.apart()), labels[i])
		if n.Measured {
			gauge(descOffsetMin, n.Offset.Low.Seconds(), labels[i])
			gauge(descOffsetMax, n.Offset.High.Seconds(), labels[i])
			gauge(descWrong, boolValue(n.Has(Wrong)), labels[i])
			gauge(descBoundFalse, boolValue(n.Has(BoundFalse)), labels[i])
		}
	}
	gauge(descUnmeasured, float64(unmeasured))
}

// apart reports whether nothing is known of a node's clock against the largest group
// of nodes.
func (n *Node) apart() bool { return !n.Measured || n.Group > 0 || n.Error != "" }

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// labels returns the nodes' names as labels, each another: a member that names
// itself as others do must not spoil the metrics of all.
func (r *Report) labels() []string {
	const longest = 253 // of a node's name in Kubernetes; an address may be added
	labels, taken := make([]string, len(r.Nodes)), make(map[string]bool)
	for i := range r.Nodes {
		label := shorten(r.Nodes[i].Name, longest)
		for taken[label] {
			label += " again"
		}
		labels[i], taken[label] = label, true
	}
	return labels
}
