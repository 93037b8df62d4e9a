//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// loadConfig configures a load generator. Its load is a closed loop: it sends a request
// when an answer arrives.
type loadConfig struct {
	Network string         // udp or tcp
	Idle    bool           // each connection sends one request, and then stays idle
	Addr    netip.AddrPort // of the server
	PID     int            // of the server
	Sockets int
	Depth   int           // requests in flight on each socket
	Ages    bool          // measure the age of the answers
	Warm    time.Duration // before the measurement
	Length  time.Duration // of the measurement
	Spin    bool          // never sleep
	Wait    bool          // after the set-up, write readyLine and wait for a line
}

// args returns the command line of a load generator with this configuration.
func (c loadConfig) args() []string {
	return []string{"load", "-network", c.Network, "-idle=" + strconv.FormatBool(c.Idle), "-addr", c.Addr.String(), "-pid", strconv.Itoa(c.PID),
		"-sockets", strconv.Itoa(c.Sockets), "-depth", strconv.Itoa(c.Depth), "-ages=" + strconv.FormatBool(c.Ages),
		"-warm", c.Warm.String(), "-length", c.Length.String(),
		"-spin=" + strconv.FormatBool(c.Spin), "-wait=" + strconv.FormatBool(c.Wait)}
}

// result is the result of one measurement. All and Calls also count what happens before and
// after it.
type result struct {
	Answers uint64        `json:"answers"`
	Lost    uint64        `json:"lost"`
	Elapsed time.Duration `json:"elapsed"`
	RunTime time.Duration `json:"run_time"` // of the server's threads
	// AllTime is the run time of server, kernel threads and load generator together. Only
	// the XDP scenarios set it.
	AllTime time.Duration `json:"all_time"`
	// RoundTrip is the time from a request to its answer. On a connection with several
	// requests in flight it is the time from the first request to the last answer. It is
	// not measured if a UDP socket has several requests in flight.
	RoundTrip percentiles `json:"round_trip"`
	// Age is the age of the time in an answer when the answer arrived, for the answers
	// that have a receive timestamp. Stamped is the number of these.
	Age     percentiles `json:"age"`
	Stamped uint64      `json:"stamped"`
	// Resident is the growth of the server's resident memory through the connections of
	// an idle load, in bytes.
	Resident int64 `json:"resident"`
	// All is the number of all answers, including those before and after the measurement.
	All uint64 `json:"all"`
	// Calls is the number of system calls that the server made for All.
	Calls uint64 `json:"calls"`
}

const (
	readyLine = "ready"
	// maxSockets is the maximum for the source addresses that sourceOf gives.
	maxSockets = 250 * connsPerSource
	// lossTimeout is the time after which requests without an answer count as lost.
	lossTimeout = 200 * time.Millisecond
	// deadTimeout is the time that a measurement waits past its end for a first answer.
	deadTimeout = 10 * time.Second
)

// load is the load generator: bench load FLAGS. It writes its result as JSON.
func load(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var c loadConfig
	flags := flag.NewFlagSet("bench load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.Network, "network", "udp", "udp or tcp")
	flags.BoolVar(&c.Idle, "idle", false, "send one request on each connection, and measure the growth of the server's memory")
	flags.TextVar(&c.Addr, "addr", netip.MustParseAddrPort("127.0.0.1:3333"), "IPv4 `address` and port of the server")
	flags.IntVar(&c.PID, "pid", 0, "process ID of the server")
	flags.IntVar(&c.Sockets, "sockets", 1, "number of sockets")
	flags.IntVar(&c.Depth, "depth", 1, "requests in flight on each socket; over UDP 64 at most")
	flags.BoolVar(&c.Ages, "ages", false, "measure the age of the answers")
	flags.DurationVar(&c.Warm, "warm", 0, "length of the load before the measurement")
	flags.DurationVar(&c.Length, "length", time.Second, "length of the measurement")
	flags.BoolVar(&c.Spin, "spin", false, "never sleep")
	flags.BoolVar(&c.Wait, "wait", false, "after the set-up, print \"ready\" and wait for a line on standard input")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	known := c.Network == "tcp" || c.Network == "udp" && c.Depth <= batchSize && !c.Idle
	if flags.NArg() > 0 || !known || c.Sockets < 1 || c.Sockets > maxSockets || c.Depth < 1 || !c.Addr.Addr().Is4() {
		return usageError{fmt.Errorf("load %q: not supported", args)}
	}

	// A load generator makes little garbage. A collection would disturb the measurement.
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	r, err := c.run(stdin, stdout)
	if err != nil {
		return fmt.Errorf("load on %s %v: %w", c.Network, c.Addr, err)
	}
	return json.NewEncoder(stdout).Encode(r)
}

func (c loadConfig) run(stdin io.Reader, stdout io.Writer) (result, error) {
	if c.Network == "udp" {
		l, err := newUDPLoad(c)
		if err != nil {
			return result{}, err
		}
		return l.meter.run(stdin, stdout, l)
	}
	if c.Idle {
		return loadIdle(c)
	}
	l, err := newTCPLoad(c)
	if err != nil {
		return result{}, err
	}
	return l.meter.run(stdin, stdout, l)
}

// loadGenerator sends requests and receives answers. A meter calls it.
type loadGenerator interface {
	// step receives the answers that have arrived, and unless drain is set, sends new
	// requests. It reports whether it received or sent anything. If not, it may have
	// slept for some milliseconds.
	step(now time.Duration, drain bool) (bool, error)
	// inFlight returns the number of requests without an answer.
	inFlight() int
}

// meter measures a load.
type meter struct {
	loadConfig
	start     time.Time
	result    result
	roundTrip histogram
	age       histogram
}

// now returns the time since the start of the load, by the monotonic clock.
func (m *meter) now() time.Duration { return time.Since(m.start) }

// run warms up, measures, and drains.
func (m *meter) run(stdin io.Reader, stdout io.Writer, l loadGenerator) (result, error) {
	if m.Wait {
		fmt.Fprintln(stdout, readyLine)
		if _, err := bufio.NewReader(stdin).ReadString('\n'); err != nil {
			return result{}, err
		}
	}
	m.start = time.Now()
	if err := m.until(m.Warm, l); err != nil {
		return result{}, err
	}
	before := m.result.All
	m.result = result{}
	m.roundTrip, m.age = histogram{}, histogram{}

	runTimeBefore, err := runTime(m.PID)
	if err != nil {
		return result{}, err
	}
	from := m.now()
	if err := m.until(from+m.Length, l); err != nil {
		return result{}, err
	}
	to := m.now()
	runTimeAfter, err := runTime(m.PID)
	if err != nil {
		return result{}, err
	}
	r := m.result
	r.Elapsed, r.RunTime = to-from, runTimeAfter-runTimeBefore
	r.Answers = r.All
	r.RoundTrip, r.Age, r.Stamped = m.roundTrip.percentiles(), m.age.percentiles(), m.age.total

	for last := m.now(); l.inFlight() > 0 && m.now()-last < lossTimeout; {
		busy, err := l.step(m.now(), true)
		if err != nil {
			return result{}, err
		}
		if busy {
			last = m.now()
		}
	}
	r.All = before + m.result.All
	if r.Answers == 0 {
		return r, errors.New("no answers")
	}
	return r, nil
}

// until runs the load until end, and on until the first answer, because on a busy host that
// can come later. It gives up deadTimeout after end.
func (m *meter) until(end time.Duration, l loadGenerator) error {
	for now := m.now(); now < end || m.result.All == 0 && now < end+deadTimeout; now = m.now() {
		if _, err := l.step(now, false); err != nil {
			return err
		}
	}
	return nil
}

// countAnswer counts an answer. arrived is its receive timestamp, in nanoseconds since
// 1970, if known. The error says that b is not an answer.
func (m *meter) countAnswer(b []byte, arrived int64, known bool) error {
	at, ok := timeOfDay(b)
	if !ok || b[len(b)-1] != '\n' {
		return fmt.Errorf("%q is not an answer", b)
	}
	m.result.All++
	// Over the loopback interface the kernel takes the timestamp within the server's
	// system call. It takes none unless some socket has enabled timestamps.
	if m.Ages && known {
		m.age.add(ageOf(at, time.Unix(0, arrived)))
	}
	return nil
}

// timeOfDay parses an answer, and returns its time since midnight, in whole microseconds.
// ok is false if b is not an answer.
func timeOfDay(b []byte) (d time.Duration, ok bool) {
	if len(b) != layoutSize {
		return 0, false
	}
	units := [...]struct {
		at, digits int
		unit       time.Duration
	}{{11, 2, time.Hour}, {14, 2, time.Minute}, {17, 2, time.Second}, {20, 6, time.Microsecond}}
	for _, u := range units {
		n := 0
		for _, c := range b[u.at : u.at+u.digits] {
			if c < '0' || c > '9' {
				return 0, false
			}
			n = 10*n + int(c-'0')
		}
		d += time.Duration(n) * u.unit
	}
	return d, true
}

// ageOf returns the age of an answer when it arrived. timeOfDay is in the local zone, which
// is the server's too. An age above half a day is taken for a negative one.
func ageOf(timeOfDay time.Duration, arrived time.Time) time.Duration {
	const day = 24 * time.Hour
	_, zone := arrived.Zone()
	now := time.Duration(arrived.UnixNano()) + time.Duration(zone)*time.Second
	age := (now - timeOfDay) % day
	if age > day/2 { // the clock has stepped backwards
		age -= day
	}
	return age
}

// request is what a load generator sends. Servers give the default answer to it.
const request = "hi"

// requests returns n requests, each on its own line.
func requests(n int) []byte { return slices.Repeat([]byte(request+"\n"), n) }

// enableTimestamps enables receive timestamps on a socket: SO_TIMESTAMPNS of socket(7).
func enableTimestamps(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("setsockopt SO_TIMESTAMPNS: %w", err)
	}
	return nil
}
