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
	descNodes        = desc("nodes", "Members of the cluster, including those that do not answer.")
	descUnmeasured   = desc("unmeasured_nodes", "Members that do not answer, or that no measurement connects with the largest group of members.")
	descSkewMax      = desc("skew_max_seconds", "Upper bound on the difference between any two clocks that measurements connect.")
	descSkewMin      = desc("skew_min_seconds", "Lower bound on the difference between the two clocks that differ most.")
	descSkewLimit    = desc("skew_limit_seconds", "Limit on the difference between any two clocks: -max-skew.")
	descInconsistent = desc("inconsistent_cycles", "Cycles of measurements that cannot all be true.")
	descAge          = desc("round_age_seconds", "Time since the beginning of the last completed round.")
	descOffsetMin    = desc("node_offset_min_seconds", "Lower bound on the offset of a member's clock from the majority's; positive if it is ahead.", "node")
	descOffsetMax    = desc("node_offset_max_seconds", "Upper bound on the offset of a member's clock from the majority's; positive if it is ahead.", "node")
	descWrong        = desc("node_wrong", "1 if a member's clock is proved wrong, 0 if not.", "node")
	descBoundFalse   = desc("node_bound_false", "1 if the error bound that a member claims is proved false, 0 if not.", "node")
	descNodeBlank    = desc("node_unmeasured", "1 if a member does not answer, or no measurement connects it with the largest group of members, 0 otherwise.", "node")
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

// Collect implements prometheus.Collector. It omits unknown values: all values before the
// end of the first round, and the offset of an unmeasured member.
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

// apart reports whether the node does not answer, or no measurement connects it with the
// largest group of nodes.
func (n *Node) apart() bool { return !n.Measured || n.Group > 0 || n.Error != "" }

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// labels returns the names of the nodes as unique labels. Duplicate labels, which a member
// could cause by its name, would make the whole scrape fail.
func (r *Report) labels() []string {
	const longest = 253 // of the name of a node in Kubernetes
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
