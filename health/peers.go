package health

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"nowd/peers"
)

// PeersStats has this host's measurements of the other members of a cluster: *peers.Peers.
type PeersStats interface{ Document() *peers.Document }

var (
	descLinks      = desc("peers", "links", "Other members of the cluster with a current measurement.")
	descLinkAge    = desc("peers", "oldest_link_age_seconds", "Age of the oldest current measurement of another member.")
	descLinkOffset = desc("peers", "link_offset_max_seconds", "Upper bound on the difference between this clock and that of any measured member, at the time of the measurement.")

	peersDescs = []*prometheus.Desc{descLinks, descLinkAge, descLinkOffset}
)

// collectPeers emits the metrics of this host's links, and none without NOWD_PEERS. The
// metrics of the whole cluster are those of nowd cluster.
func (m *Metrics) collectPeers(gauge func(*prometheus.Desc, float64, ...string)) {
	if m.peers == nil {
		return
	}
	links := m.peers.Document().Links
	gauge(descLinks, float64(len(links)))
	if len(links) == 0 {
		return
	}
	var age, offset time.Duration
	for _, l := range links {
		age, offset = max(age, l.Age), max(offset, -l.OffsetMin, l.OffsetMax)
	}
	gauge(descLinkAge, age.Seconds())
	gauge(descLinkOffset, offset.Seconds())
}

type peersStatus struct {
	Node    string       `json:"node"`
	Members int          `json:"members"` // number of other members
	Links   []linkStatus `json:"links"`
}

type linkStatus struct {
	Member      string `json:"member"`
	OffsetMinNS int64  `json:"offset_min_ns"` // of the member's clock from this host's
	OffsetMaxNS int64  `json:"offset_max_ns"`
	AgeNS       int64  `json:"age_ns"`
	Synced      bool   `json:"synced"`
	BoundNS     *int64 `json:"bound_ns"` // error bound that the member claimed; null if it claimed none
}

func (m *Metrics) peersStatus() *peersStatus {
	if m.peers == nil {
		return nil
	}
	d := m.peers.Document()
	s := &peersStatus{Node: d.Node, Members: len(d.Members), Links: []linkStatus{}}
	for _, l := range d.Links {
		s.Links = append(s.Links, linkStatus{
			l.Member.String(), int64(l.OffsetMin), int64(l.OffsetMax), int64(l.Age), l.Claim.Synced, (*int64)(l.Claim.Bound),
		})
	}
	return s
}
