package xdp

// facts is the memory that the service writes and the program reads. The service
// writes the slot that is not current, and then counts generation up, the lowest
// bit of which says which slot is current. So the program reads no slot that is
// being written, unless it is held up for as long as a slot is current: then the
// generation is another one at its end.
type facts struct {
	generation uint64
	_          [cacheLine - 8]byte
	slots      [2]slot
}

// slot is what the program has to know. Times are nanoseconds since 1970, UTC.
// Ports, addresses and what goes over the wire have the order of the wire. The
// zero slot has no addresses, and has expired.
type slot struct {
	written int64 // when
	expires int64 // from when on the program answers nothing

	// CLOCK_TAI less UTC and less CLOCK_MONOTONIC, in nanoseconds, the latter give
	// or take slack. A step of the clock changes one of them.
	taiUTC  int64
	taiMono int64
	slack   int64

	mac  [8]byte // of the interface: the first six bytes
	ipv4 [maxAddrs]ipv4Addr
	ipv6 [maxAddrs]ipv6Addr

	ntp  ntpFacts
	text textFacts
}

// maxAddrs is how many addresses of each family the program knows. What is sent
// to others is for the sockets.
const maxAddrs = 8

// ipv4Addr is an address at which protocols are served. The zero address ends the
// list.
type ipv4Addr struct {
	addr   [4]byte
	serves uint32 // bits: protocolText, protocolNTP
}

// ipv6Addr is likewise.
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

// textFacts is answer.Text's Layout for each of the seconds in which the slot does
// not expire.
type textFacts struct {
	second int64 // the beginning of the first
	lines  [lineSeconds]line
}

// lineSeconds is how many seconds lifetime may touch.
const lineSeconds = 4

// line is the Layout of one second's answers.
type line struct {
	before [24]byte
	after  [8]byte
	length int64 // of an answer in bytes; 0 if the program cannot make one
}

// maxAfter is the length of the longest After of a Layout: an offset and a
// newline.
const maxAfter = len("+08:00\n")

// counts is the beginning of the memory that the program writes and the service
// reads. What belongs to each CPU follows.
type counts struct {
	total int64 // the bucket of the limit for all sources: see limit
	_     [cacheLine - 8]byte
}

// cpu is what belongs to one CPU, on which one run of the program ends before the
// next one begins.
type cpu struct {
	counters row
	work     work
}

// row has the counters of one CPU, by protocol.
type row [numProtocols][numCounters]uint64

// The counters of a protocol. Each datagram for it counts once, if it is as simple
// as the program wants it.
const (
	countAnswers = iota
	countSourcePort
	countOwnPort
	countReplyLoop
	countRateLimit
	countTotalLimit
	countStale // left to the sockets, because the facts had expired or the clock was stepped
	_
	numCounters
)

// work is memory for one run of the program. It is not on the stack, because there
// the first store to a place takes 7 ns if the process that loads the program has no
// CAP_PERFMON: the kernel keeps the processor from speculating on what was there
// before.
type work struct {
	// The answer's frame: headers that end where the answer begins, and the answer,
	// padded with zeros.
	headers [64]byte
	answer  [maxAnswer]byte

	received   int64    // when the program began, UTC
	sent       int64    // when the answer was made, UTC
	mono       int64    // CLOCK_MONOTONIC, in between
	generation uint64   // of the facts
	frame      int64    // length of the frame
	size       int64    // length of the answer
	flow       [2]int64 // the source's key, as guard.Source has it, and its port
	value      int64    // of a new source or flow
	_          [7]int64
}

// maxAnswer is an upper bound on the length of an answer.
const maxAnswer = 64

// A cacheLine, or a few, is each CPU's alone: no two write to the same.
const cacheLine = 128

// The protocols, as bits of serves, and by their indexes in a row.
const (
	protocolText = int32(Text)
	protocolNTP  = int32(NTP)
	numProtocols = 2
)
