package query

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// parseTarget returns the host:port of a target. port is the default port.
func parseTarget(target, network, port string) (string, error) {
	host := target
	if h, p, err := net.SplitHostPort(target); err == nil {
		host, port = h, p
		if n, err := net.LookupPort(network, port); err != nil || n == 0 {
			return "", fmt.Errorf("%q: want a port from 1 to 65535 or its name after the colon, got %q", target, port)
		}
	} else if inner, ok := bracketed(target); ok {
		host = inner
	} else if _, err := netip.ParseAddr(target); err != nil && strings.ContainsAny(target, ":[]") || target == "" {
		return "", fmt.Errorf("%q: want HOST, HOST:PORT or [IPv6]:PORT", target)
	}
	return net.JoinHostPort(host, port), nil
}

// bracketed returns the IPv6 address that s has in brackets.
func bracketed(s string) (string, bool) {
	inner, opened := strings.CutPrefix(s, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	ip, err := netip.ParseAddr(inner)
	return inner, opened && closed && err == nil && ip.Is6()
}
