//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bench measures scenarios on this host.
type bench struct {
	options
	dir    string // for temporary files
	self   string // path of this program
	binary string // path of nowd
	cpus   []int
	nofile int // open files that a process may have
}

func newBench(ctx context.Context, dir string, o options) (*bench, error) {
	b := &bench{options: o, dir: dir, binary: filepath.Join(dir, "nowd")}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if b.cpus, err = processors(); err != nil {
		return nil, err
	}
	if b.nofile, err = raiseFileLimit(); err != nil {
		return nil, err
	}
	return b, buildNowd(ctx, b.binary)
}

// raiseFileLimit raises the limit of open files to its maximum, and returns it. Child
// processes inherit it.
func raiseFileLimit() (int, error) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("getrlimit", err)
	}
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, os.NewSyscallError("setrlimit", err)
	}
	return int(min(l.Max, math.MaxInt32)), nil
}

// spareFiles is the number of open files that a server or a load generator needs besides
// its connections.
const spareFiles = 100

// setup is the servers of a scenario, and the processors that they run on. The first
// server's figures are divided by those of each of the others.
type setup struct {
	servers []server
	placement
}

// setupOf returns the setup of a scenario, and a note for the report. The error says why
// the scenario cannot be measured on this host.
func (b *bench) setupOf(s scenario) (setup, string, error) {
	if s.load.Network != "udp" && s.load.Sockets+spareFiles > b.nofile {
		return setup{}, "", fmt.Errorf("the limit of open files is %d", b.nofile)
	}
	if s.counted {
		if _, err := exec.LookPath("strace"); err != nil {
			return setup{}, "", err
		}
	}
	if s.xdp != nil {
		p, _ := apart(b.cpus)
		return setup{placement: p}, fmt.Sprintf("processor %d sends the requests and runs the receiving side of the kernel; the server has the other one", b.cpus[0]), nil
	}
	if s.loops {
		p, note, err := sideBySide(b.cpus)
		return setup{[]server{nowd(b.binary, "two loops", 2), nowd(b.binary, "one loop", 1)}, p}, note, err
	}
	p, note := apart(b.cpus)
	servers := []server{nowd(b.binary, "nowd", 1), baseline(b.self, "net"), baseline(b.self, "min")}
	switch {
	case s.load.Idle:
		servers = servers[:2] // min allocates nothing for a connection: its figure can be 0
	case b.limit != "" && !s.counted:
		servers = append(servers, limitServers(b.limit, s.load.Network)...)
	}
	return setup{servers, p}, note, nil
}

// measureAll measures the scenarios that match -run. With an error, the report has the
// scenarios that did not fail.
func (b *bench) measureAll(ctx context.Context, progress io.Writer) (*report, error) {
	_, note := apart(b.cpus)
	rep := newReport(note)
	if b.quick {
		rep.note("This was a quick run. It shows that the program works; its figures mean nothing.")
	}
	var failed error
	for _, s := range scenarios() {
		if !b.run.MatchString(s.name) {
			continue
		}
		if b.quick {
			s = s.small()
		}
		on, note, err := b.setupOf(s)
		if err != nil {
			rep.note(fmt.Sprintf("%s is skipped: %v.", s.name, err))
			continue
		}
		if note != "" && (s.loops || s.xdp != nil) {
			rep.note(fmt.Sprintf("%s: %s.", s.name, note))
		}
		began := time.Now()
		var results [][]result
		if s.xdp != nil {
			on.servers, results, err = b.measureXDP(ctx, s)
		} else {
			results, err = b.measure(ctx, s, on)
		}
		if err != nil {
			if ctx.Err() != nil {
				failed = errors.New("interrupted")
				break
			}
			rep.note(fmt.Sprintf("%s is skipped: %v.", s.name, err))
			if !errors.Is(err, errUnsupported) {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
			}
			continue
		}
		fmt.Fprintf(progress, "%-16s %4.1f s\n", s.name, time.Since(began).Seconds())
		rep.add(s, on.servers, results)
	}
	rep.noteIdle()
	return rep, failed
}

// measure runs the rounds of a scenario. results[i][j] is server i's result in round j.
func (b *bench) measure(ctx context.Context, s scenario, on setup) ([][]result, error) {
	results := make([][]result, len(on.servers))
	for round := range s.rounds.of(b.pairs) {
		for _, i := range orderOf(len(on.servers), round) {
			r, err := b.measureOne(ctx, s, on.servers[i], on.placement)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", on.servers[i].name, err)
			}
			results[i] = append(results[i], r)
		}
	}
	return results, nil
}

// orderOf returns the order in which the servers of a round are measured. There are at
// least two. The first is measured in the middle: of three, each other is measured just
// before or after it. Every second round is in reverse order, so that no server gains by
// its position.
func orderOf(servers, round int) []int {
	var order []int
	for i := 1; i < servers; i++ {
		order = append(order, i)
	}
	order = slices.Insert(order, servers/2, 0)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

const (
	// warmUp precedes each measurement. It fills caches, and gives the kernel time to
	// enable receive timestamps.
	warmUp = 50 * time.Millisecond
	// setupTimeout is added to the length of a measurement to get its timeout.
	setupTimeout = time.Minute
)

// measureOne starts a server, runs a load against it, and kills it.
func (b *bench) measureOne(ctx context.Context, s scenario, c server, p placement) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, b.length+setupTimeout)
	defer cancel()
	srv, err := c.start(ctx, p.server, s.load.Network)
	if err != nil {
		return result{}, err
	}
	defer srv.stop()

	l := s.load
	l.Addr, l.PID = srv.addr, srv.pid()
	l.Warm, l.Length, l.Spin, l.Wait = warmUp, b.length, p.spin, s.counted
	if s.counted {
		return b.count(ctx, l, p)
	}
	cmd := command(ctx, p.load, b.self, l.args()...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return result{}, failure("load generator", err, stderr.String())
	}
	r, err := parseResult(out)
	if err == nil && l.Ages && r.Stamped == 0 {
		err = fmt.Errorf("%w: the kernel gives no receive timestamps", errUnsupported)
	}
	return r, err
}

// errUnsupported means that this host cannot measure a scenario. The scenario is skipped,
// and bench does not fail.
var errUnsupported = errors.New("not supported on this host")

// count runs a load and counts the system calls that the server makes after the load is
// set up.
func (b *bench) count(ctx context.Context, l loadConfig, p placement) (r result, err error) {
	cmd := command(ctx, p.load, b.self, l.args()...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return r, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := cmd.Start(); err != nil {
		return r, err
	}
	defer func() {
		_ = stdin.Close()
		if waitErr := cmd.Wait(); waitErr != nil && !errors.Is(err, errUnsupported) {
			err = failure("load generator", waitErr, stderr.String())
		}
	}()
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); err != nil || strings.TrimSpace(line) != readyLine {
		return r, fmt.Errorf("the load generator wrote %q, want %q", line, readyLine)
	}
	counting, err := countCalls(ctx, b.dir, l.PID)
	if err != nil {
		_ = cmd.Process.Kill()
		return r, fmt.Errorf("%w: %w", errUnsupported, err)
	}
	_, startErr := io.WriteString(stdin, "\n")
	out, readErr := io.ReadAll(lines)
	calls, err := counting.stop()
	if err := errors.Join(startErr, readErr, err); err != nil {
		return r, err
	}
	if r, err = parseResult(out); err != nil {
		return r, err
	}
	r.Calls = calls
	return r, nil
}

func parseResult(out []byte) (r result, err error) {
	if err := json.NewDecoder(bytes.NewReader(out)).Decode(&r); err != nil {
		return r, fmt.Errorf("the load generator wrote %q: %w", out, err)
	}
	return r, nil
}
