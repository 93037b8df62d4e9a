package config

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Listen is a list of addresses to listen at. An empty list is off.
type Listen []Address

// Address is one address of a Listen.
type Address struct {
	Host string // a name or an address; empty for all addresses
	Port uint16
}

// UnmarshalText accepts addresses separated by commas, each "host:port" or
// ":port", and "off".
func (l *Listen) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*l = nil
		return nil
	}
	var all Listen
	for part := range strings.SplitSeq(string(text), ",") {
		a, err := parseAddress(part)
		if err != nil {
			return fmt.Errorf("%q: %w", part, err)
		}
		if slices.ContainsFunc(all, a.overlaps) {
			return notAllowed(fmt.Sprintf("%q overlaps with an address before it", part))
		}
		all = append(all, a)
	}
	*l = all
	return nil
}

// notAllowed is the error for a well-formed address that nowd cannot use. It says why.
type notAllowed string

func (n notAllowed) Error() string { return string(n) }

// parseAddress parses "host:port" or ":port". The error is a notAllowed for a well-formed
// address that nowd cannot use.
func parseAddress(text string) (Address, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return Address{}, err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil && (strings.HasPrefix(text, "[") || !isHostName(host)) || hasForbidden(ip.Zone()) {
		return Address{}, errors.New("no host")
	}
	if ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return Address{}, notAllowed(fmt.Sprintf("%q is a multicast or broadcast address", host))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return Address{}, notAllowed(fmt.Sprintf("%q is not a port from 1 to 65535", port))
	}
	return Address{Host: host, Port: uint16(n)}, nil
}

// isHostName reports whether host is empty, or has only letters, digits, dots, hyphens and
// underscores. Digits and dots alone are no name, but a malformed address.
func isHostName(host string) bool {
	return !hasForbidden(host) && (host == "" || strings.Trim(host, "0123456789.") != "")
}

// hasForbidden reports whether a name has characters other than letters, digits, dots,
// hyphens and underscores. A shell could interpret them in the output of "nowd config".
func hasForbidden(name string) bool {
	return strings.ContainsFunc(name, func(c rune) bool {
		return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("._-", c)
	})
}

// Off reports whether l has no address.
func (l Listen) Off() bool { return len(l) == 0 }

// String returns what UnmarshalText accepts.
func (l Listen) String() string {
	if l.Off() {
		return "off"
	}
	parts := make([]string, len(l))
	for i, a := range l {
		parts[i] = a.String()
	}
	return strings.Join(parts, ",")
}

func (a Address) String() string { return net.JoinHostPort(a.Host, strconv.Itoa(int(a.Port))) }

// Ports returns the ports of all addresses.
func (l Listen) Ports() []uint16 {
	var ports []uint16
	for _, a := range l {
		ports = append(ports, a.Port)
	}
	return ports
}

// overlaps reports whether sockets cannot be bound to both l and m at a time. It does not
// resolve names, so it may miss an overlap.
func (l Listen) overlaps(m Listen) bool {
	return slices.ContainsFunc(l, func(a Address) bool { return slices.ContainsFunc(m, a.overlaps) })
}

func (a Address) overlaps(b Address) bool {
	ipA, errA := netip.ParseAddr(a.Host)
	ipB, errB := netip.ParseAddr(b.Host)
	switch {
	case a.Port != b.Port:
		return false
	case a.Host == "" || b.Host == "" || strings.EqualFold(a.Host, b.Host):
		return true
	case errA != nil || errB != nil:
		return false
	}
	return Overlap(netip.AddrPortFrom(ipA.Unmap(), a.Port), netip.AddrPortFrom(ipB.Unmap(), b.Port))
}

// Overlap reports whether sockets cannot be bound to both addresses at a time.
func Overlap(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() || a.Addr().Is4() != b.Addr().Is4() {
		return false
	}
	return a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified()
}

// Addrs returns the addresses to listen at. It resolves names. For ":port" it returns two
// addresses: one socket for IPv4, and one for IPv6.
func (l Listen) Addrs() ([]netip.AddrPort, error) {
	var addrs []netip.AddrPort
	for _, a := range l {
		of, err := a.addrs()
		if err != nil {
			return nil, err
		}
		for _, addr := range of {
			if !slices.Contains(addrs, addr) { // two names may have the same address
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs, nil
}

func (a Address) addrs() ([]netip.AddrPort, error) {
	if a.Host == "" {
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), a.Port), netip.AddrPortFrom(netip.IPv6Unspecified(), a.Port)}, nil
	}
	if ip, err := netip.ParseAddr(a.Host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), a.Port)}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", a.Host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Host, err)
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), a.Port))
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	return addrs, nil
}

// NeedsIPv6 reports whether addr, one of Addrs, must be served even if the host has no
// IPv6. It returns false if the same clients can use IPv4: for ":port", and for ::1 if l
// also has a loopback address of IPv4.
func (l Listen) NeedsIPv6(addr netip.Addr) bool {
	switch {
	case addr == netip.IPv6Unspecified():
		return !slices.ContainsFunc(l, func(a Address) bool { return a.Host == "" })
	case addr == netip.IPv6Loopback():
		return !slices.ContainsFunc(l, func(a Address) bool {
			ip, err := netip.ParseAddr(a.Host)
			return err == nil && ip.Is4() && ip.IsLoopback()
		})
	}
	return addr.Is6()
}

// Reachable returns addresses, as host:port, by which this host can connect to a server
// that listens at l.
func (l Listen) Reachable() []string {
	var reachable []string
	for _, a := range l {
		hosts := []string{a.Host}
		ip, err := netip.ParseAddr(a.Host)
		switch {
		case a.Host == "":
			hosts = []string{"127.0.0.1", "::1"}
		case err == nil && ip.IsUnspecified() && ip.Is4():
			hosts[0] = "127.0.0.1"
		case err == nil && ip.IsUnspecified():
			hosts[0] = "::1"
		}
		for _, host := range hosts {
			reachable = append(reachable, Address{host, a.Port}.String())
		}
	}
	return reachable
}
