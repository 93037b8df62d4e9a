package health

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"nowd/peers"
)

// PeersStats tells what this host has measured of the other members of a cluster:
// *peers.Peers.
type PeersStats interface{ Document() *peers.Document }

var (
	descLinks      = desc("peers", "links", "Other members of the cluster of which there is a measurement that is of use.")
	descLinkAge    = desc("peers", "oldest_link_age_seconds", "Age of the oldest measurement of another member that is of use.")
	descLinkOffset = desc("peers", "link_offset_max_seconds", "Upper bound on how far this clock and that of any measured member differed when they were measured.")

	peersDescs = []*prometheus.Desc{descLinks, descLinkAge, descLinkOffset}
)

// collectPeers emits the metrics of the links, and none if there are no peers. What
// the links of all members prove is for nowd cluster.
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
	Members int          `json:"members"` // others
	Links   []linkStatus `json:"links"`
}

type linkStatus struct {
	Member      string `json:"member"`
	OffsetMinNS int64  `json:"offset_min_ns"` // of the member's clock from this one's
	OffsetMaxNS int64  `json:"offset_max_ns"`
	AgeNS       int64  `json:"age_ns"`
	Synced      bool   `json:"synced"`
	BoundNS     *int64 `json:"bound_ns"` // that the member claimed; null where it claimed none
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
