package peers

import (
	"net/netip"
	"time"
)

// Version is the version of a Document. It changes when a field changes its
// meaning or goes; more fields may come without.
const Version = 1

// Path is where a Document is served, at the health endpoint.
const Path = "/peers"

// Document is what a member of a cluster publishes of its clock and its links. Times
// are in nanoseconds. Ages are by an oscillator that nobody steers, as of when the
// document was made; nothing in it is a time of day.
type Document struct {
	Version   int              `json:"version"`
	Node      string           `json:"node"`
	Addresses []netip.AddrPort `json:"addresses"` // at which others measure this member
	Port      uint16           `json:"port"`      // at which it serves NTP
	Interval  time.Duration    `json:"interval_ns"`
	Claim     Claim            `json:"clock"`   // now
	Members   []netip.AddrPort `json:"members"` // all others
	Links     []Link           `json:"links"`
	Steered   []Steering       `json:"steered"` // the newest first
}

// Claim is what a host claims of its clock.
type Claim struct {
	Synced bool           `json:"synced"`
	Bound  *time.Duration `json:"bound_ns"` // upper bound on its error; null where it claims none, as where it is not synced
}

// Link is the last measurement of a member's clock.
type Link struct {
	Member    netip.AddrPort `json:"member"`
	OffsetMin time.Duration  `json:"offset_min_ns"` // of the member's clock from this one's, at the measurement
	OffsetMax time.Duration  `json:"offset_max_ns"`
	Age       time.Duration  `json:"age_ns"`  // since the measurement began
	Took      time.Duration  `json:"took_ns"` // how long it took
	Claim     Claim          `json:"clock"`   // what the member claimed at the measurement
	Own       Claim          `json:"own_clock"`
}

// Steering is how far this clock was steered, by steps and by slews, since some
// fixed moment: the least and the most that was read since the next older entry.
type Steering struct {
	Age time.Duration `json:"age_ns"` // of the last reading
	Min time.Duration `json:"min_ns"`
	Max time.Duration `json:"max_ns"`
}
