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
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bench measures scenarios.
type bench struct {
	options
	dir    string // for what is not kept
	self   string // this program
	binary string // nowd
	cpus   []int
	nofile int // descriptors that a process may have
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

// raiseFileLimit raises the limit as far as it may be, for what is started from
// here, too, and returns it.
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

// spareFiles is how many descriptors a server or a load has besides its
// connections.
const spareFiles = 100

// field is who takes part in a scenario, and where. Ratios are those of the
// first to each of the others.
type field struct {
	contestants []contestant
	placement
}

// fieldOf returns the field for a scenario, and what is to be said of it. The
// error is why it cannot be measured here.
func (b *bench) fieldOf(s scenario) (field, string, error) {
	if s.load.Network != "udp" && s.load.Sockets+spareFiles > b.nofile {
		return field{}, "", fmt.Errorf("a process may have %d files only", b.nofile)
	}
	if s.counted {
		if _, err := exec.LookPath("strace"); err != nil {
			return field{}, "", err
		}
	}
	if s.xdp != nil {
		p, _ := apart(b.cpus)
		return field{placement: p}, "the requests are made on processor " + strconv.Itoa(b.cpus[0]) + ", and taken in there, too; the server has the other one", nil
	}
	if s.loops {
		p, note, err := sideBySide(b.cpus)
		return field{[]contestant{nowd(b.binary, "two loops", 2), nowd(b.binary, "one loop", 1)}, p}, note, err
	}
	p, note := apart(b.cpus)
	contestants := []contestant{nowd(b.binary, "nowd", 1), yardstick(b.self, "net"), yardstick(b.self, "min")}
	switch {
	case s.load.Idle:
		contestants = contestants[:2] // the minimum keeps nothing for a connection, so there is nothing to divide by
	case b.limit != "" && !s.counted:
		contestants = append(contestants, limits(b.limit, s.load.Network)...)
	}
	return field{contestants, p}, note, nil
}

// measureAll measures the scenarios that are asked for. With an error the report
// is what there is without those that failed.
func (b *bench) measureAll(ctx context.Context, progress io.Writer) (*report, error) {
	_, note := apart(b.cpus)
	rep := newReport(note)
	if b.quick {
		rep.note("This was a quick run: it shows that all this works, and nothing else.")
	}
	var failed error
	for _, s := range scenarios() {
		if !b.run.MatchString(s.name) {
			continue
		}
		if b.quick {
			s = s.small()
		}
		f, note, err := b.fieldOf(s)
		if err != nil {
			rep.note(fmt.Sprintf("%s is left out: %v.", s.name, err))
			continue
		}
		if note != "" && (s.loops || s.xdp != nil) {
			rep.note(fmt.Sprintf("%s: %s.", s.name, note))
		}
		began := time.Now()
		var results [][]result
		if s.xdp != nil {
			f.contestants, results, err = b.measureXDP(ctx, s)
		} else {
			results, err = b.measure(ctx, s, f)
		}
		if err != nil {
			if ctx.Err() != nil {
				failed = errors.New("interrupted")
				break
			}
			rep.note(fmt.Sprintf("%s is left out: %v.", s.name, err))
			if !errors.Is(err, errNotHere) {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", s.name, err))
			}
			continue
		}
		fmt.Fprintf(progress, "%-16s %4.1f s\n", s.name, time.Since(began).Seconds())
		rep.add(s, f.contestants, results)
	}
	rep.noteIdle()
	return rep, failed
}

// measure measures a scenario's rounds. The results are by contestant, then by
// round.
func (b *bench) measure(ctx context.Context, s scenario, f field) ([][]result, error) {
	results := make([][]result, len(f.contestants))
	for round := range s.rounds.of(b.pairs) {
		for _, i := range orderOf(len(f.contestants), round) {
			r, err := b.measureOne(ctx, s, f.contestants[i], f.placement)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.contestants[i].name, err)
			}
			results[i] = append(results[i], r)
		}
	}
	return results, nil
}

// orderOf returns the order in which two or more contestants take their turns. The
// first one has its turn in the middle, so that of three each is measured next to it.
// Every other round is reversed, so that no contestant gains by its place.
func orderOf(contestants, round int) []int {
	var order []int
	for i := 1; i < contestants; i++ {
		order = append(order, i)
	}
	order = slices.Insert(order, contestants/2, 0)
	if round%2 == 1 {
		slices.Reverse(order)
	}
	return order
}

const (
	// warmUp is for caches and for what the kernel turns on by and by: stamps.
	warmUp = 50 * time.Millisecond
	// setUp is how much longer than it measures a load may take.
	setUp = time.Minute
)

// measureOne starts a server, loads it, and ends it.
func (b *bench) measureOne(ctx context.Context, s scenario, c contestant, p placement) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, b.length+setUp)
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
		return result{}, failure("load", err, stderr.String())
	}
	r, err := parseResult(out)
	if err == nil && l.Ages && r.Stamped == 0 {
		err = fmt.Errorf("%w: the kernel puts no time on what arrives", errNotHere)
	}
	return r, err
}

// errNotHere is why a scenario is left out.
var errNotHere = errors.New("it cannot be measured on this host")

// count runs a load and counts the server's system calls from when all is set
// up.
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
		if ended := cmd.Wait(); ended != nil && !errors.Is(err, errNotHere) {
			err = failure("load", ended, stderr.String())
		}
	}()
	lines := bufio.NewReader(stdout)
	if line, err := lines.ReadString('\n'); err != nil || strings.TrimSpace(line) != readyLine {
		return r, fmt.Errorf("it said %q instead of being ready", line)
	}
	counting, err := countCalls(ctx, b.dir, l.PID)
	if err != nil {
		_ = cmd.Process.Kill()
		return r, fmt.Errorf("%w: %w", errNotHere, err)
	}
	_, asked := io.WriteString(stdin, "\n")
	out, read := io.ReadAll(lines)
	calls, err := counting.stop()
	if err := errors.Join(asked, read, err); err != nil {
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
		return r, fmt.Errorf("load said %q: %w", out, err)
	}
	return r, nil
}
