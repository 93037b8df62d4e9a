package xdp

import (
	"net/netip"
	"time"

	"nowd/answer"
	"nowd/clock"
)

// RefreshInterval is how often the caller must call Refresh while there is traffic.
const RefreshInterval = time.Second

// Protocol is a protocol that the program answers, as a bit.
type Protocol uint32

const (
	Text Protocol = 1 << iota
	NTP
)

// Endpoint is an address at which nowd's sockets serve a protocol. The unspecified address
// stands for all addresses of its family.
type Endpoint struct {
	Protocol Protocol
	Addr     netip.Addr
}

// Config configures a Driver.
type Config struct {
	Interface string
	Generic   bool // the kernel runs the program, not the driver: for drivers without XDP

	Clock    *clock.Clock // the host's clock
	Text     *answer.Text // nil if the program does not answer text
	TextPort uint16
	NTP      *answer.NTP // nil if the program does not answer NTP
	NTPPort  uint16

	Ports      []uint16 // the service's own ports: guard.Config
	MinRequest int      // minimum length of a text request, in bytes
	LongestRun int      // upper bound on the answers in a row to one port of a source: guard.Limits; 0 for none
	Source     Limit    // rate limit of each source
	Total      Limit    // rate limit of all sources together
}

// Limit is a rate limit in answers per second, with a burst. The zero Limit is no limit.
type Limit struct{ Rate, Burst int }
