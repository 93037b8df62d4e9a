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

// loadConfig says what a load asks, and how hard. The load is a closed loop: it
// asks again when it is answered.
type loadConfig struct {
	Network string         // udp or tcp
	Idle    bool           // connections ask once, and then are silent
	Addr    netip.AddrPort // the server's
	PID     int            // the server's
	Sockets int
	Depth   int           // requests that a socket has under way
	Ages    bool          // measure the age of the answers
	Warm    time.Duration // before the measurement
	Length  time.Duration // of the measurement
	Spin    bool          // never sleep
	Wait    bool          // when all is set up, say so and wait for a line before asking
}

// args is the command line that makes a load of c.
func (c loadConfig) args() []string {
	return []string{"load", "-network", c.Network, "-idle=" + strconv.FormatBool(c.Idle), "-addr", c.Addr.String(), "-pid", strconv.Itoa(c.PID),
		"-sockets", strconv.Itoa(c.Sockets), "-depth", strconv.Itoa(c.Depth), "-ages=" + strconv.FormatBool(c.Ages),
		"-warm", c.Warm.String(), "-length", c.Length.String(),
		"-spin=" + strconv.FormatBool(c.Spin), "-wait=" + strconv.FormatBool(c.Wait)}
}

// result is what a load has seen in the time of the measurement.
type result struct {
	Answers uint64        `json:"answers"`
	Lost    uint64        `json:"lost"`
	Elapsed time.Duration `json:"elapsed"`
	RunTime time.Duration `json:"run_time"` // of the server's threads
	// AllTime is the run time of all that took part, the load included. It is taken
	// of loads that a program in the kernel makes.
	AllTime time.Duration `json:"all_time"`
	// RoundTrip is from a request to its answer; where a connection has several
	// under way, from the first request to the last answer. It is not taken of
	// datagrams of which several are under way.
	RoundTrip times `json:"round_trip"`
	// Age is how old the time in an answer was when the answer left, for as
	// many as the kernel has stamped.
	Age     times  `json:"age"`
	Stamped uint64 `json:"stamped"`
	// Resident is the memory that the connections of an idle load cost the
	// server, in bytes.
	Resident int64 `json:"resident"`
	// All is how many answers there were, with those before and after the
	// measurement.
	All uint64 `json:"all"`
	// Calls is how many system calls the server made for All.
	Calls uint64 `json:"calls"`
}

const (
	readyLine = "ready"
	// maxSockets is as many as there are addresses for.
	maxSockets = 250 * connsPerSource
	// patience is how long an answer may take before it counts as lost.
	patience = 200 * time.Millisecond
	// silence is after how long a server counts as dead.
	silence = 10 * time.Second
)

// load runs a load: bench load FLAGS. It writes the result, in JSON.
func load(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	var c loadConfig
	flags := flag.NewFlagSet("bench load", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.Network, "network", "udp", "udp or tcp")
	flags.BoolVar(&c.Idle, "idle", false, "ask once on each connection, and tell what they cost the server in memory")
	flags.TextVar(&c.Addr, "addr", netip.MustParseAddrPort("127.0.0.1:3333"), "the server's `address`")
	flags.IntVar(&c.PID, "pid", 0, "the server's process")
	flags.IntVar(&c.Sockets, "sockets", 1, "sockets")
	flags.IntVar(&c.Depth, "depth", 1, "requests that a socket has under way")
	flags.BoolVar(&c.Ages, "ages", false, "measure the age of the answers")
	flags.DurationVar(&c.Warm, "warm", 0, "for how long to ask before the measurement")
	flags.DurationVar(&c.Length, "length", time.Second, "how long to measure")
	flags.BoolVar(&c.Spin, "spin", false, "never sleep")
	flags.BoolVar(&c.Wait, "wait", false, "when all is set up, say so, and wait for a line")
	if err := flags.Parse(args); err != nil {
		return usageError{err}
	}
	known := c.Network == "tcp" || c.Network == "udp" && c.Depth <= batchSize && !c.Idle
	if flags.NArg() > 0 || !known || c.Sockets < 1 || c.Sockets > maxSockets || c.Depth < 1 || !c.Addr.Addr().Is4() {
		return usageError{fmt.Errorf("no such load: %q", args)}
	}

	// Nothing here makes garbage worth a collector that runs meanwhile.
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

// asker is one of the loads that measure for a time.
type asker interface {
	// turn takes the answers that are there, asks again unless it is drained,
	// and reports whether it did anything. It may wait for a moment if it did
	// not.
	turn(now time.Duration, drain bool) (bool, error)
	// underWay is how many answers are owed.
	underWay() int
}

// meter counts what happens in the time of the measurement.
type meter struct {
	loadConfig
	start     time.Time
	result    result
	roundTrip histogram
	age       histogram
}

// now is the time since the load was started, by the monotonic clock.
func (m *meter) now() time.Duration { return time.Since(m.start) }

// run has a load ask, measures, and waits for what is still under way.
func (m *meter) run(stdin io.Reader, stdout io.Writer, a asker) (result, error) {
	if m.Wait {
		fmt.Fprintln(stdout, readyLine)
		if _, err := bufio.NewReader(stdin).ReadString('\n'); err != nil {
			return result{}, err
		}
	}
	m.start = time.Now()
	if err := m.until(m.Warm, a); err != nil {
		return result{}, err
	}
	before := m.result.All
	m.result = result{}
	m.roundTrip, m.age = histogram{}, histogram{}

	began, err := runTime(m.PID)
	if err != nil {
		return result{}, err
	}
	from := m.now()
	if err := m.until(from+m.Length, a); err != nil {
		return result{}, err
	}
	to := m.now()
	ended, err := runTime(m.PID)
	if err != nil {
		return result{}, err
	}
	r := m.result
	r.Elapsed, r.RunTime = to-from, ended-began
	r.Answers = r.All
	r.RoundTrip, r.Age, r.Stamped = m.roundTrip.times(), m.age.times(), m.age.total

	for last := m.now(); a.underWay() > 0 && m.now()-last < patience; {
		busy, err := a.turn(m.now(), true)
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

// until asks until a time, and until there was an answer: on a busy host there
// may be none for longer than that.
func (m *meter) until(end time.Duration, a asker) error {
	for now := m.now(); now < end || m.result.All == 0 && now < end+silence; now = m.now() {
		if _, err := a.turn(now, false); err != nil {
			return err
		}
	}
	return nil
}

// answered counts an answer, which arrived at a time if that is known. It must
// be one: the figures are worth nothing otherwise.
func (m *meter) answered(b []byte, arrived int64, known bool) error {
	if len(b) == 0 || b[len(b)-1] != '\n' {
		return fmt.Errorf("%q is no answer", b)
	}
	m.result.All++
	at, ok := timeOfDay(b)
	if !ok {
		return fmt.Errorf("%q is no answer", b)
	}
	// Over the loopback the kernel takes the timestamp within the server's own
	// system call. It takes none before a socket has asked for timestamps.
	if m.Ages && known {
		m.age.add(ageOf(at, time.Unix(0, arrived)))
	}
	return nil
}

// timeOfDay parses an answer, and returns how long before it the day began by the
// server's clock: whole microseconds.
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

// ageOf returns how old an answer was when it arrived. The answer has the time of
// day in the local zone, which is the server's as well, so the age is less than a
// day.
func ageOf(timeOfDay time.Duration, arrived time.Time) time.Duration {
	const day = 24 * time.Hour
	_, zone := arrived.Zone()
	now := time.Duration(arrived.UnixNano()) + time.Duration(zone)*time.Second
	age := (now - timeOfDay) % day
	if age > day/2 { // the clock was set back
		age -= day
	}
	return age
}

// request is what a load sends: any other text gets the same answer.
const request = "hi"

// requests returns n requests, one after the other.
func requests(n int) []byte { return slices.Repeat([]byte(request+"\n"), n) }

// stamped has the kernel say when packets arrived at a socket: socket(7).
func stamped(fd int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("setsockopt SO_TIMESTAMPNS: %w", err)
	}
	return nil
}
