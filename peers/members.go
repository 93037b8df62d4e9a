package peers

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// MaxMembers is the maximum number of members of a cluster. If the names resolve to more
// addresses, that is an error.
const MaxMembers = 10000

// resolver finds the addresses of a cluster's members.
type resolver struct {
	names []string                    // host:port
	last  map[string][]netip.AddrPort // by name; from its last successful look-up
}

// resolve looks up all names. If a look-up fails, the name keeps its last addresses, and
// the error is that of the first failure.
func (r *resolver) resolve(ctx context.Context) (members []netip.AddrPort, err error) {
	if r.last == nil {
		r.last = make(map[string][]netip.AddrPort)
	}
	for _, name := range r.names {
		found, e := lookUp(ctx, name)
		if e == nil {
			r.last[name] = found
		} else if err == nil {
			err = e
		}
		members = append(members, r.last[name]...)
	}
	slices.SortFunc(members, netip.AddrPort.Compare)
	members = slices.Compact(members)
	if len(members) > MaxMembers {
		return nil, fmt.Errorf("%d members, want at most %d", len(members), MaxMembers)
	}
	return members, err
}

// lookUp returns all addresses of a host:port.
func lookUp(ctx context.Context, name string) (members []netip.AddrPort, err error) {
	if at, err := netip.ParseAddrPort(name); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(at.Addr().Unmap(), at.Port())}, nil
	}
	host, text, err := net.SplitHostPort(name)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	for _, ip := range found {
		members = append(members, netip.AddrPortFrom(ip.Unmap(), uint16(port)))
	}
	return members, nil
}

// ownAddresses returns the members that are this host: the addresses at which it serves
// NTP. listening are the addresses that its NTP sockets are bound to.
func ownAddresses(members, listening []netip.AddrPort) (own []netip.AddrPort, err error) {
	local, err := localPrefixes()
	if err != nil {
		return nil, err
	}
	isLocal := func(ip netip.Addr) bool {
		return slices.ContainsFunc(local, func(p netip.Prefix) bool {
			return p.Addr() == ip || ip.IsLoopback() && p.Contains(ip) // all of 127/8 is local
		})
	}
	for _, m := range members {
		if slices.ContainsFunc(listening, func(l netip.AddrPort) bool {
			return l == m || l.Port() == m.Port() && l.Addr().Is4() == m.Addr().Is4() && l.Addr().IsUnspecified() && isLocal(m.Addr())
		}) {
			own = append(own, m)
		}
	}
	return own, nil
}

// localPrefixes returns the addresses of this host's interfaces.
func localPrefixes() (local []netip.Prefix, err error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			local = append(local, p)
		}
	}
	return local, nil
}

// sourceFor returns the address at which a member can reach this host: the source address
// of datagrams to that member, with the port at which this host serves NTP. It is for a
// host that is not in the list of members yet. It sends nothing.
func sourceFor(member netip.AddrPort, listening []netip.AddrPort) (netip.AddrPort, bool) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(member))
	if err != nil {
		return netip.AddrPort{}, false
	}
	defer func() { _ = c.Close() }()
	source := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	for _, l := range listening {
		if l.Addr().Is4() == source.Is4() && (l.Addr() == source || l.Addr().IsUnspecified()) {
			return netip.AddrPortFrom(source, l.Port()), true
		}
	}
	return netip.AddrPort{}, false
}
