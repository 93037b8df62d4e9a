package cluster

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"nowd/clock"
	"nowd/peers"
	"nowd/skew"
)

// node is a member of the cluster.
type node struct {
	name      string           // no other node has the same
	addresses []netip.AddrPort // at which others measure it
	*response                  // nil if the member was not asked
}

// assembly is a cluster, assembled from the documents of its members.
type assembly struct {
	nodes   []node
	cluster skew.Cluster
	links   []peers.Link // by the index of cluster.Links
	strays  []response   // with a document that is not used: none of its addresses is its own
}

// assemble assembles a cluster. members are all addresses in the documents.
func assemble(responses []response, members map[netip.AddrPort]bool, threshold time.Duration) *assembly {
	a := new(assembly)
	owners, merged := claimAddresses(responses)
	for i := range responses {
		r := &responses[i]
		if r.document == nil || merged[i] {
			continue
		}
		n := node{name: r.document.Node, response: r}
		for address, owner := range owners {
			if owner == i {
				n.addresses = append(n.addresses, address)
			}
		}
		if len(n.addresses) == 0 {
			a.strays = append(a.strays, *r)
			continue
		}
		slices.SortFunc(n.addresses, netip.AddrPort.Compare)
		a.nodes = append(a.nodes, n)
	}
	for address := range members {
		if _, ok := owners[address]; !ok {
			a.nodes = append(a.nodes, node{name: address.String(), addresses: []netip.AddrPort{address}, response: failed(responses, address)})
		}
	}
	for i := range responses {
		r := &responses[i]
		if r.document == nil && !slices.ContainsFunc(a.nodes, func(n node) bool { return n.response == r }) { // no document has its address
			a.nodes = append(a.nodes, node{name: r.from.String(), addresses: []netip.AddrPort{r.from}, response: r})
		}
	}
	a.nameApart()
	a.connect(threshold)
	return a
}

// claimAddresses returns two maps. owners has the index of the response that each address
// belongs to. merged has the responses of members that another response already stands
// for.
//
// A member may lie about its name, but not about the address that it answers from. An
// address in a document belongs to it if the document was fetched from there. If no
// document was fetched from there (a port-forward), it belongs to the only document that
// has it.
func claimAddresses(responses []response) (owners map[netip.AddrPort]int, merged map[int]bool) {
	owners, merged = make(map[netip.AddrPort]int), make(map[int]bool)
	asked := make(map[netip.Addr]bool)
	for i, r := range responses {
		asked[r.from.Addr()] = true
		if at, ok := r.ownAddress(); ok {
			if _, taken := owners[at]; !taken {
				owners[at] = i
			}
		}
	}
	// Two responses are of one member, asked at two addresses, if each document has the
	// address that the other was fetched from.
	for i, r := range responses {
		at, ok := r.ownAddress()
		if !ok || merged[i] {
			continue
		}
		for _, other := range r.document.Addresses {
			if j, ok := owners[other]; ok && j > i && slices.Contains(responses[j].document.Addresses, at) {
				owners[other], merged[j] = i, true
			}
		}
	}
	claims := make(map[netip.AddrPort][]int)
	for i, r := range responses {
		if r.document == nil || merged[i] {
			continue
		}
		for _, address := range slices.Compact(slices.SortedFunc(slices.Values(r.document.Addresses), netip.AddrPort.Compare)) {
			if _, owned := owners[address]; !owned && !asked[address.Addr()] {
				claims[address] = append(claims[address], i)
			}
		}
	}
	for address, by := range claims {
		if len(by) == 1 {
			owners[address] = by[0]
		}
	}
	return owners, merged
}

// ownAddress returns the address that the document was fetched from, with the port at which
// others measure the member. It returns false if the document does not have this address.
func (r *response) ownAddress() (netip.AddrPort, bool) {
	if r.document == nil {
		return netip.AddrPort{}, false
	}
	at := netip.AddrPortFrom(r.from.Addr(), r.document.Port)
	return at, slices.Contains(r.document.Addresses, at)
}

// failed returns the response of a member without a document, or nil if the member was not
// asked.
func failed(responses []response, member netip.AddrPort) *response {
	for i, r := range responses {
		if r.document == nil && r.from.Addr() == member.Addr() {
			return &responses[i]
		}
	}
	return nil
}

// nameApart sorts the nodes by name, and adds the address to names that are not unique.
func (a *assembly) nameApart() {
	count := make(map[string]int)
	for _, n := range a.nodes {
		count[n.name]++
	}
	for i := range a.nodes {
		if n := &a.nodes[i]; count[n.name] > 1 {
			n.name += " at " + n.addresses[0].String()
		}
	}
	slices.SortFunc(a.nodes, func(m, n node) int {
		return cmp.Or(cmp.Compare(m.name, n.name), m.addresses[0].Compare(n.addresses[0]))
	})
}

// connect makes the clocks and links of the cluster.
func (a *assembly) connect(threshold time.Duration) {
	a.cluster.Threshold = threshold
	index := make(map[netip.AddrPort]int)
	for i, n := range a.nodes {
		for _, address := range n.addresses {
			index[address] = i
		}
	}
	for i, n := range a.nodes {
		var c skew.Clock
		if n.response != nil && n.document != nil {
			c.Asked = n.asked
			for _, s := range n.document.Steered {
				c.Steered = append(c.Steered, skew.Steering{Age: s.Age, Ahead: clock.Interval{Low: s.Min, High: s.Max}})
			}
			for _, l := range n.document.Links {
				if to, ok := index[l.Member]; ok && to != i {
					a.links = append(a.links, l)
					a.cluster.Links = append(a.cluster.Links, skew.Link{
						From: i, To: to, Age: l.Age, Took: l.Took, Offset: clock.Interval{Low: l.OffsetMin, High: l.OffsetMax},
						FromClaim: claimOf(l.Own), ToClaim: claimOf(l.Claim),
					})
				}
			}
		}
		a.cluster.Clocks = append(a.cluster.Clocks, c)
	}
}

// claimOf returns the error bound that a member claims. It is unknown if the clock is not
// synchronised or the bound is negative.
func claimOf(c peers.Claim) skew.Claim {
	if !c.Synced || c.Bound == nil || *c.Bound < 0 {
		return skew.Claim{}
	}
	return skew.Claim{Bound: *c.Bound, Known: true}
}
