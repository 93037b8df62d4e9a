package xdp

// facts is the memory that nowd writes and the program reads. The lowest bit of generation
// is the index of the current slot. nowd writes the other slot and then increments
// generation. So the program reads a slot while it is being written only if it is delayed
// for as long as a slot is current. Then generation has changed at its end, and it passes
// the frame.
type facts struct {
	generation uint64
	_          [cacheLine - 8]byte
	slots      [2]slot
}

// slot is one set of facts. Times are nanoseconds since 1970, UTC. Ports, addresses and
// fields of packets are in network byte order. The zero slot has no addresses and is
// expired.
type slot struct {
	written int64 // time of the reading of the clocks
	expires int64 // from this time on, the program answers nothing

	// CLOCK_TAI minus UTC, and CLOCK_TAI minus CLOCK_MONOTONIC with an error of up to
	// slack. A step of the clock changes one of them.
	taiUTC  int64
	taiMono int64
	slack   int64

	mac  [8]byte // of the interface, in the first six bytes
	ipv4 [maxAddrs]ipv4Addr
	ipv6 [maxAddrs]ipv6Addr

	ntp  ntpFacts
	text textFacts
}

// maxAddrs is the maximum number of addresses of each family in a slot. The sockets answer
// at the others.
const maxAddrs = 8

// ipv4Addr is an IPv4 address of the interface, and the protocols served there. The zero
// address ends the list.
type ipv4Addr struct {
	addr   [4]byte
	serves uint32 // bits: protocolText, protocolNTP
}

// ipv6Addr is the ipv4Addr of IPv6.
type ipv6Addr struct {
	addr   [16]byte
	serves uint64
}

// ntpFacts is answer.NTP's Header.
type ntpFacts struct {
	leapMode  uint8 // the first byte, without the version
	stratum   uint8
	precision uint8
	_         uint8
	rootDelay [4]byte
	refID     [4]byte
	_         [4]byte
	reference [8]byte

	// The root dispersion's growth: clock.Growth, in nanoseconds.
	kernel     int64
	kernelAt   int64
	kernelRate int64
	upstream   int64
	upstreamAt int64
	greater    int64 // 0 or 1
}

// textFacts is answer.Text's Layout for each second until the slot expires.
type textFacts struct {
	second int64 // the beginning of the first second
	lines  [lineSeconds]line
}

// lineSeconds is the number of seconds that lifetime may overlap.
const lineSeconds = 4

// line is the Layout of one second's answers.
type line struct {
	before [24]byte
	after  [8]byte
	length int64 // of an answer, in bytes; 0 if the program cannot make one
}

// maxAfter is the length of the longest After of a Layout: an offset and a newline.
const maxAfter = len("+08:00\n")

// counts is the beginning of the memory that the program writes and nowd reads. One cpu
// for each CPU follows it.
type counts struct {
	total int64 // the bucket of the limit for all sources: see limit
	_     [cacheLine - 8]byte
}

// cpu is the memory of one CPU. On a CPU, a run of the program ends before the next one
// begins.
type cpu struct {
	counters row
	work     work
}

// row holds the counters of one CPU, by protocol.
type row [numProtocols][numCounters]uint64

// The counters of a protocol. Each request that the program may answer counts once.
const (
	countAnswers = iota
	countSourcePort
	countOwnPort
	countReplyLoop
	countRateLimit
	countTotalLimit
	countStale // passed to the sockets, because the facts were expired or the clock was stepped
	_
	numCounters
)

// work is scratch memory for one run of the program. The stack would be slower: if the
// process that loads the program has no CAP_PERFMON, the first store to each stack
// location takes 7 ns, because the kernel inserts a barrier against speculation.
type work struct {
	// The answer's frame: headers, which end where the answer begins, and the answer,
	// padded with zeros.
	headers [64]byte
	answer  [maxAnswer]byte

	received   int64    // UTC when the program began
	sent       int64    // UTC when the answer was made
	mono       int64    // CLOCK_MONOTONIC between received and sent
	generation uint64   // of the facts
	frame      int64    // length of the frame
	size       int64    // length of the answer
	flow       [2]int64 // the source's key (guard.Source), and its port
	value      int64    // map value of a new source or flow
	_          [7]int64
}

// maxAnswer is an upper bound on the length of an answer.
const maxAnswer = 64

// cacheLine is the alignment that keeps two CPUs from writing to the same cache line.
const cacheLine = 128

// The protocols, as bits of serves; their number is the length of a row.
const (
	protocolText = int32(Text)
	protocolNTP  = int32(NTP)
	numProtocols = 2
)
