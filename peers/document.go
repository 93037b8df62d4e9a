package peers

import (
	"net/netip"
	"time"
)

// Version is the version of Document. It changes when a field is removed or changes its
// meaning. New fields do not change it.
const Version = 1

// Path is the path of the Document at the health endpoint.
const Path = "/peers"

// Document is what a member of a cluster publishes about its clock and its links. All times
// are durations in nanoseconds; none is a time of day. Ages are by an unsteered oscillator,
// as of when the document was made.
type Document struct {
	Version   int              `json:"version"`
	Node      string           `json:"node"`
	Addresses []netip.AddrPort `json:"addresses"` // at which others measure this member
	Port      uint16           `json:"port"`      // at which this member serves NTP
	Interval  time.Duration    `json:"interval_ns"`
	Claim     Claim            `json:"clock"`   // this member's claim now
	Members   []netip.AddrPort `json:"members"` // all other members
	Links     []Link           `json:"links"`
	Steered   []Steering       `json:"steered"` // newest first
}

// Claim is what a host claims about its clock.
type Claim struct {
	Synced bool           `json:"synced"`
	Bound  *time.Duration `json:"bound_ns"` // upper bound on the clock's error; null without one, for example if the clock is not synced
}

// Link is the last measurement of a member's clock.
type Link struct {
	Member    netip.AddrPort `json:"member"`
	OffsetMin time.Duration  `json:"offset_min_ns"` // minimum offset of the member's clock from this one, at the measurement
	OffsetMax time.Duration  `json:"offset_max_ns"` // maximum offset
	Age       time.Duration  `json:"age_ns"`        // since the beginning of the measurement
	Took      time.Duration  `json:"took_ns"`       // duration of the measurement
	Claim     Claim          `json:"clock"`         // the member's claim at the measurement
	Own       Claim          `json:"own_clock"`     // this member's claim at the measurement
}

// Steering is how far this clock was steered, by steps and slews, since a fixed moment: the
// minimum and the maximum of the readings since the next older entry.
type Steering struct {
	Age time.Duration `json:"age_ns"` // of the last reading
	Min time.Duration `json:"min_ns"`
	Max time.Duration `json:"max_ns"`
}
