package xdp

import (
	"nowd/answer"
	"nowd/clock"
)

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
