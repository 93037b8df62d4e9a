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

// Listen says where to listen.
type Listen struct {
	Off  bool   `env:"-"` // the whole is one variable: package env must not look for the fields'
	Host string `env:"-"` // a name or an address; empty for all addresses
	Port uint16 `env:"-"`
}

// UnmarshalText accepts "host:port", ":port" and "off".
func (l *Listen) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*l = Listen{Off: true}
		return nil
	}
	host, port, err := net.SplitHostPort(string(text))
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil && (strings.HasPrefix(string(text), "[") || !isHostName(host)) || hasForbidden(ip.Zone()) {
		return errors.New("no host")
	}
	if ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return errors.New("a multicast or broadcast address")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return errors.New("no port")
	}
	*l = Listen{Host: host, Port: uint16(n)}
	return nil
}

// isHostName reports whether host may be a name, or is empty: letters, digits,
// dots, hyphens and underscores, but not an address that is none.
func isHostName(host string) bool {
	return !hasForbidden(host) && (host == "" || strings.Trim(host, "0123456789.") != "")
}

// hasForbidden reports whether a name has characters that neither hosts nor
// interfaces have, and that may mean something to a shell.
func hasForbidden(name string) bool {
	return strings.ContainsFunc(name, func(c rune) bool {
		return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("._-", c)
	})
}

// String returns what UnmarshalText accepts.
func (l Listen) String() string {
	if l.Off {
		return "off"
	}
	return net.JoinHostPort(l.Host, strconv.Itoa(int(l.Port)))
}

// overlaps reports whether nowd cannot listen at both, as far as their texts
// tell.
func (l Listen) overlaps(m Listen) bool {
	a, errA := netip.ParseAddr(l.Host)
	b, errB := netip.ParseAddr(m.Host)
	switch {
	case l.Port != m.Port:
		return false
	case l.Host == "" || m.Host == "" || strings.EqualFold(l.Host, m.Host):
		return true
	case errA != nil || errB != nil:
		return false
	}
	return Overlap(netip.AddrPortFrom(a.Unmap(), l.Port), netip.AddrPortFrom(b.Unmap(), m.Port))
}

// Overlap reports whether sockets cannot be bound to both addresses at a time.
func Overlap(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() || a.Addr().Is4() != b.Addr().Is4() {
		return false
	}
	return a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified()
}

// Addrs returns the addresses to listen at; a name is looked up. For all
// addresses there are two: one socket has those of IPv4, another those of IPv6.
func (l Listen) Addrs() ([]netip.AddrPort, error) {
	switch {
	case l.Off:
		return nil, nil
	case l.Host == "":
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), l.Port), netip.AddrPortFrom(netip.IPv6Unspecified(), l.Port)}, nil
	}
	if ip, err := netip.ParseAddr(l.Host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), l.Port)}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", l.Host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Host, err)
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), l.Port))
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	return slices.Compact(addrs), nil // hosts files repeat themselves
}

// Reachable returns the hosts by which this machine reaches what listens there.
func (l Listen) Reachable() []string {
	ip, err := netip.ParseAddr(l.Host)
	switch {
	case l.Host == "":
		return []string{"127.0.0.1", "::1"}
	case err == nil && ip.IsUnspecified() && ip.Is4():
		return []string{"127.0.0.1"}
	case err == nil && ip.IsUnspecified():
		return []string{"::1"}
	}
	return []string{l.Host}
}
