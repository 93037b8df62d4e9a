//go:build linux

package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"
)

// The forms of an answer. The yardsticks give one form, whatever they are asked
// for.
const (
	datetime = "datetime" // 2026-11-21 01:17:42.813729
	unixns   = "unixns"   // nanoseconds since 1970
)

const (
	layout     = "2006-01-02 15:04:05.000000\n"
	toSeconds  = "2006-01-02 15:04:05."
	layoutSize = len(layout)
)

// receiveBuffer is what a datagram socket may have waiting, in bytes; nowd asks
// for as much.
const receiveBuffer = 1 << 20

// appendAnswer appends an answer in a form.
func appendAnswer(b []byte, form string, now time.Time) []byte {
	if form == unixns {
		return append(strconv.AppendInt(b, now.UnixNano(), 10), '\n')
	}
	return now.AppendFormat(b, layout)
}

// serve runs a yardstick: bench serve net|min udp|tcp ADDR [FORM].
func serve(args []string) error {
	if len(args) == 3 {
		args = append(args, datetime)
	}
	if len(args) != 4 || args[3] != datetime && args[3] != unixns {
		return usageError{fmt.Errorf("serve %q: want net or min, udp or tcp, an address and perhaps %s or %s", args, datetime, unixns)}
	}
	addr, err := netip.ParseAddrPort(args[2])
	if err != nil || !addr.Addr().Is4() {
		return usageError{fmt.Errorf("serve at %q: want an address of IPv4 and a port", args[2])}
	}
	switch args[0] + " " + args[1] {
	case "net udp":
		return serveNetUDP(addr, args[3])
	case "net tcp":
		return serveNetTCP(addr, args[3])
	case "min udp":
		return serveMinUDP(addr, args[3])
	case "min tcp":
		return serveMinTCP(addr, args[3])
	}
	return usageError{fmt.Errorf("serve %s %s: no such server", args[0], args[1])}
}
