package query

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// parseTarget returns the host:port that a target stands for; port is the one of
// a target that has none.
func parseTarget(target, network, port string) (string, error) {
	host := target
	if h, p, err := net.SplitHostPort(target); err == nil {
		host, port = h, p
		if n, err := net.LookupPort(network, port); err != nil || n == 0 {
			return "", fmt.Errorf("%q: %q is no port", target, port)
		}
	} else if inner, ok := bracketed(target); ok {
		host = inner
	} else if _, err := netip.ParseAddr(target); err != nil && strings.ContainsAny(target, ":[]") || target == "" {
		return "", fmt.Errorf("%q: want HOST, HOST:PORT or [IPv6]:PORT", target)
	}
	return net.JoinHostPort(host, port), nil
}

// bracketed returns the IPv6 address within brackets.
func bracketed(s string) (string, bool) {
	inner, opened := strings.CutPrefix(s, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	ip, err := netip.ParseAddr(inner)
	return inner, opened && closed && err == nil && ip.Is6()
}
