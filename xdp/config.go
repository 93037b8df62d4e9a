package xdp

import (
	"net/netip"
	"time"

	"nowd/answer"
	"nowd/clock"
)

// RefreshInterval is how often the facts are to be written while there is traffic.
const RefreshInterval = time.Second

// Protocol is what the program answers, as a bit.
type Protocol uint32

const (
	Text Protocol = 1 << iota
	NTP
)

// Endpoint is an address at which a protocol is served by sockets, too. The
// unspecified address stands for all of its family.
type Endpoint struct {
	Protocol Protocol
	Addr     netip.Addr
}

// Config configures a Driver.
type Config struct {
	Interface string
	Generic   bool // the kernel runs the program, not the driver

	Clock    *clock.Clock // of the host
	Text     *answer.Text // nil if the program is not to answer it
	TextPort uint16
	NTP      *answer.NTP // likewise
	NTPPort  uint16

	Ports      []uint16 // the service's own ports: guard.Config
	MinRequest int      // the least length of a request for text, in bytes
	LongestRun int      // the greatest number of answers in a run: guard's breaker; 0 for no breaker
	Source     Limit    // of each source
	Total      Limit    // of all sources together
}

// Limit is a number of answers a second, and at once. The zero Limit is none.
type Limit struct{ Rate, Burst int }
