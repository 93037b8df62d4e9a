package main

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

// listen is where to listen.
type listen struct {
	off  bool
	host string // empty for all addresses
	port uint16
}

// UnmarshalText accepts "host:port", ":port" and "off".
func (l *listen) UnmarshalText(text []byte) error {
	if string(text) == "off" {
		*l = listen{off: true}
		return nil
	}
	host, port, err := net.SplitHostPort(string(text))
	if err != nil {
		return err
	}
	ip, err := netip.ParseAddr(host)
	if err != nil && (strings.HasPrefix(string(text), "[") || !isHostName(host)) || hasOdd(ip.Zone()) {
		return errors.New("no host")
	}
	if ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return errors.New("an address of many")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return errors.New("no port")
	}
	*l = listen{host: host, port: uint16(n)}
	return nil
}

// isHostName reports whether host may be a name, or is empty: letters, digits,
// dots, hyphens and underscores, but not an address that is none.
func isHostName(host string) bool {
	return !hasOdd(host) && (host == "" || strings.Trim(host, "0123456789.") != "")
}

// hasOdd reports whether a name has characters in it that are for neither hosts
// nor interfaces, and may mean something to a shell.
func hasOdd(name string) bool {
	return strings.ContainsFunc(name, func(c rune) bool {
		return c > unicode.MaxASCII || !unicode.IsLetter(c) && !unicode.IsDigit(c) && !strings.ContainsRune("._-", c)
	})
}

// String returns what UnmarshalText accepts.
func (l listen) String() string {
	if l.off {
		return "off"
	}
	return net.JoinHostPort(l.host, strconv.Itoa(int(l.port)))
}

// overlaps reports whether both cannot be listened at, as far as their texts
// tell.
func (l listen) overlaps(m listen) bool {
	a, errA := netip.ParseAddr(l.host)
	b, errB := netip.ParseAddr(m.host)
	switch {
	case l.port != m.port:
		return false
	case l.host == "" || m.host == "" || strings.EqualFold(l.host, m.host):
		return true
	case errA != nil || errB != nil:
		return false
	}
	return overlap(netip.AddrPortFrom(a.Unmap(), l.port), netip.AddrPortFrom(b.Unmap(), m.port))
}

// overlap reports whether both cannot be listened at.
func overlap(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() || a.Addr().Is4() != b.Addr().Is4() {
		return false
	}
	return a.Addr() == b.Addr() || a.Addr().IsUnspecified() || b.Addr().IsUnspecified()
}

// addrs returns the addresses to listen at. All addresses are those of IPv4 and
// those of IPv6, for each of which there is a socket.
func (l listen) addrs() ([]netip.AddrPort, error) {
	switch {
	case l.off:
		return nil, nil
	case l.host == "":
		return []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), l.port), netip.AddrPortFrom(netip.IPv6Unspecified(), l.port)}, nil
	}
	if ip, err := netip.ParseAddr(l.host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), l.port)}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", l.host)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.host, err)
	}
	var addrs []netip.AddrPort
	for _, ip := range ips {
		addrs = append(addrs, netip.AddrPortFrom(ip.Unmap(), l.port))
	}
	slices.SortFunc(addrs, netip.AddrPort.Compare)
	return slices.Compact(addrs), nil // hosts files repeat themselves
}
