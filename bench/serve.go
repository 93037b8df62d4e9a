//go:build linux

package main

import (
	"fmt"
	"net/netip"
)

// The layout of an answer.
const (
	layout     = "2006-01-02 15:04:05.000000\n"
	toSeconds  = "2006-01-02 15:04:05."
	layoutSize = len(layout)
)

// receiveBuffer is the receive buffer of a UDP socket, in bytes: the same as nowd's.
const receiveBuffer = 1 << 20

// serve runs a baseline: bench serve net|min udp|tcp ADDR. It answers every request with
// the time.
func serve(args []string) error {
	if len(args) != 3 {
		return usageError{fmt.Errorf("serve %q: want net or min, udp or tcp, and ADDRESS:PORT", args)}
	}
	addr, err := netip.ParseAddrPort(args[2])
	if err != nil || !addr.Addr().Is4() {
		return usageError{fmt.Errorf("serve: address %q: want an IPv4 address and a port", args[2])}
	}
	switch args[0] + " " + args[1] {
	case "net udp":
		return serveNetUDP(addr)
	case "net tcp":
		return serveNetTCP(addr)
	case "min udp":
		return serveMinUDP(addr)
	case "min tcp":
		return serveMinTCP(addr)
	}
	return usageError{fmt.Errorf("serve %s %s: no such server", args[0], args[1])}
}
