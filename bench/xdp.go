//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// How answers from the driver are measured. A server runs in a network namespace
// of its own, at one end of a veth pair. At the other end a program in the kernel
// sends requests, and another one counts the answers: no user space, and no socket
// but the server's. So what is measured is the run time of all that has to do with
// an answer, on the whole machine: the thread that runs the generator, in which the
// kernel does most of what it does for a request; ksoftirqd; and the server.
//
// The generator's own share is taken off. It is measured with a program in the
// server's place that drops all requests, at the same rate. The generator is never
// idle: when no request is due, it looks at the clock and starts again. What that
// takes is measured by itself, and taken off for each time.

// The ends of the pair.
const (
	serverLink = "srv0"
	clientLink = "cli0"
)

var (
	serverAddr = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	clientAddr = netip.AddrFrom4([4]byte{192, 0, 2, 2})
)

const textPort, ntpPort = 3333, 123

// xdpRate is how many requests are sent in a second: less than half of what a server
// with sockets can answer on one processor, so that none is lost unless something
// else has it.
const xdpRate = 100_000

// wire is the pair, and the programs on it.
type wire struct {
	server, client *netns
	counter        link.Link
	count          *ebpf.Map
	state          *ebpf.Map
	memory         paced // to begin with
	size           int   // of a frame with a request
	generator      *ebpf.Program
	clientIndex    int
	serverIndex    int
	cpu            int
	perSkip        float64       // run time of the generator that sends nothing, in nanoseconds
	perCall        time.Duration // run time of a call of the generator, whatever it does
}

// newWire makes the pair, and a generator of such requests.
func newWire(cpu int, port uint16, request []byte, pace bool) (w *wire, err error) {
	w = &wire{cpu: cpu}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.server, err = newNetns(); err != nil {
		return nil, err
	}
	if w.client, err = newNetns(); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		at   *netns
		args string
	}{
		{w.server, "link add " + serverLink + " type veth peer name " + clientLink + " netns " + strconv.Itoa(w.client.thread)},
		{w.server, "link set lo up"},
		{w.server, "link set " + serverLink + " up"},
		{w.client, "link set " + clientLink + " up"},
		{w.server, "addr add " + serverAddr.String() + "/24 dev " + serverLink},
		{w.client, "addr add " + clientAddr.String() + "/24 dev " + clientLink},
	} {
		if err := c.at.ip(c.args); err != nil {
			return nil, err
		}
	}
	server, err := w.server.link(serverLink)
	if err != nil {
		return nil, err
	}
	client, err := w.client.link(clientLink)
	if err != nil {
		return nil, err
	}
	// Answers to sources that nobody resolves would not leave.
	if err := w.server.ip("neigh add " + clientAddr.String() + " lladdr " + client.HardwareAddr.String() + " dev " + serverLink); err != nil {
		return nil, err
	}
	w.serverIndex, w.clientIndex = server.Index, client.Index
	frame := requestFrame([6]byte(server.HardwareAddr), [6]byte(client.HardwareAddr), port, request)
	w.size = copy(w.memory.Frame[:], frame)
	if pace {
		w.memory.Interval = uint64(burst * time.Second / xdpRate)
	}
	if w.count, err = single(8); err != nil {
		return nil, err
	}
	if w.state, err = single(unsafe.Sizeof(paced{})); err != nil {
		return nil, err
	}
	counter, err := newCounter(w.count, port)
	if err != nil {
		return nil, err
	}
	defer counter.Close()
	if w.counter, err = w.client.attach(counter, w.clientIndex); err != nil {
		return nil, err
	}
	if w.generator, err = newGenerator(w.state, len(frame), pace); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *wire) close() {
	if w.generator != nil {
		_ = w.generator.Close()
	}
	if w.counter != nil {
		_ = w.counter.Close()
	}
	for _, m := range []*ebpf.Map{w.state, w.count} {
		if m != nil {
			_ = m.Close()
		}
	}
	for _, ns := range []*netns{w.server, w.client} {
		if ns != nil {
			ns.close()
		}
	}
}

// put has the server's end run a program that does nothing but return a verdict.
func (w *wire) put(action int32) (link.Link, error) {
	p, err := verdict(action)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return w.server.attach(p, w.serverIndex)
}

// generated is what a run of the generator has cost.
type generated struct {
	sent, skipped, answers uint64
	runTime                time.Duration // of the generator, ksoftirqd and the server
	elapsed                time.Duration
}

// generate runs the generator so many times. pid is the server's, or 0.
func (w *wire) generate(runs uint32, interval uint64, pid int) (g generated, err error) {
	m := w.memory
	m.Interval = interval
	if interval == never {
		m.Next = never
	}
	if err := w.state.Put(uint32(0), &m); err != nil {
		return g, err
	}
	if err := w.count.Put(uint32(0), uint64(0)); err != nil {
		return g, err
	}
	frame := slices.Clone(w.memory.Frame[:w.size])
	w.client.do(func() {
		var set unix.CPUSet
		set.Set(w.cpu)
		if err = unix.SchedSetaffinity(0, &set); err != nil {
			return
		}
		var before, after time.Duration
		if before, err = w.runTime(pid); err != nil {
			return
		}
		began := time.Now()
		_, err = w.generator.Run(&ebpf.RunOptions{
			Data: frame, Context: &xdpContext{DataEnd: uint32(len(frame)), IngressIfindex: uint32(w.clientIndex)},
			Repeat: runs, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES,
		})
		g.elapsed = time.Since(began)
		if err != nil {
			return
		}
		// A server may have some answers left to give.
		for range 20 {
			var last uint64
			if err = w.count.Lookup(uint32(0), &last); err != nil {
				return
			}
			time.Sleep(2 * time.Millisecond)
			if err = w.count.Lookup(uint32(0), &g.answers); err != nil || g.answers == last {
				break
			}
		}
		after, err = w.runTime(pid)
		g.runTime = after - before
	})
	if err != nil {
		return g, err
	}
	err = w.state.Lookup(uint32(0), &m)
	g.sent, g.skipped = m.Sent, m.Skipped
	return g, err
}

// never is a time that does not come.
const never = 1 << 62

// xdpContext is struct xdp_md of linux/bpf.h.
type xdpContext struct {
	Data, DataEnd, DataMeta                     uint32
	IngressIfindex, RxQueueIndex, EgressIfindex uint32
}

// runTime returns the run time of this thread, of ksoftirqd, and of a process.
func (w *wire) runTime(pid int) (sum time.Duration, err error) {
	paths := []string{fmt.Sprintf("/proc/self/task/%d/schedstat", w.client.thread)}
	for _, k := range ksoftirqd() {
		paths = append(paths, fmt.Sprintf("/proc/%d/schedstat", k))
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return 0, err
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(ns)
	}
	if pid != 0 {
		of, err := runTime(pid)
		if err != nil {
			return 0, err
		}
		sum += of
	}
	return sum, nil
}

// ksoftirqd returns the kernel's threads of this name.
func ksoftirqd() (pids []int) {
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range comms {
		if b, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(b), "ksoftirqd/") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// calibrate finds out what the generator takes by itself, and returns how often to
// run it so that it takes about a time.
func (w *wire) calibrate(length time.Duration, pace bool) (runs uint32, err error) {
	const few, many = burst, 2_000_000
	least, err := w.generate(few, never, 0)
	if err != nil {
		return 0, err
	}
	w.perCall = least.runTime
	if !pace { // it skips nothing
		return uint32(length / (400 * time.Nanosecond)), nil
	}
	g, err := w.generate(many, never, 0)
	if err != nil {
		return 0, err
	}
	w.perSkip = float64(g.runTime-least.runTime) / (many - few)
	return uint32(float64(length) / w.perSkip), nil
}

// own returns what the generator takes for skipping, which no request needs.
func (w *wire) own(g generated) time.Duration {
	return w.perCall + time.Duration(float64(g.skipped)*w.perSkip)
}

// netns is a thread in a network namespace of its own.
type netns struct {
	thread int
	calls  chan func()
}

func newNetns() (*netns, error) {
	ns := &netns{calls: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine, and the namespace with it
		ns.thread = unix.Gettid()
		started <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range ns.calls {
			f()
		}
	}()
	if err := <-started; err != nil {
		close(ns.calls)
		return nil, fmt.Errorf("%w: a network namespace: %w", errNotHere, err)
	}
	return ns, nil
}

func (ns *netns) close() { close(ns.calls) }

// do runs f in the namespace.
func (ns *netns) do(f func()) {
	done := make(chan struct{})
	ns.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

// ip runs ip(8) there.
func (ns *netns) ip(args string) (err error) {
	var out []byte
	ns.do(func() { out, err = exec.Command("ip", strings.Fields(args)...).CombinedOutput() })
	if err != nil {
		return failure("ip "+args, err, string(out))
	}
	return nil
}

func (ns *netns) link(name string) (in *net.Interface, err error) {
	ns.do(func() { in, err = net.InterfaceByName(name) })
	return in, err
}

func (ns *netns) attach(p *ebpf.Program, index int) (l link.Link, err error) {
	ns.do(func() {
		l, err = link.AttachXDP(link.XDPOptions{Program: p, Interface: index, Flags: link.XDPDriverMode})
	})
	return l, err
}

// start starts a server there, and waits until it answers.
func (ns *netns) start(ctx context.Context, c xdpContestant, client *netns) (s *server, err error) {
	s = &server{name: c.name, addr: netip.AddrPortFrom(serverAddr, textPort), ended: make(chan struct{})}
	s.cmd = c.command(ctx)
	s.cmd.Stderr = &s.stderr
	ns.do(func() { err = s.cmd.Start() })
	if err != nil {
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	client.do(func() { err = s.awaitAnswer("udp") })
	if err != nil {
		s.stop()
		return nil, failure(c.name, err, s.stderr.String())
	}
	return s, nil
}

// xdpContestant is a server to be measured at the pair's end.
type xdpContestant struct {
	name    string
	driver  bool // its own program answers
	command func(ctx context.Context) *exec.Cmd
}

// xdpContestants returns those of a protocol. All processors are theirs but the
// generator's, if there is another one.
func (b *bench) xdpContestants(ntp bool) []xdpContestant {
	p, _ := apart(b.cpus)
	nowd := func(settings ...string) func(ctx context.Context) *exec.Cmd {
		return func(ctx context.Context) *exec.Cmd {
			cmd := command(ctx, p.load, b.binary)
			cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "NOWD_") })
			cmd.Env = append(append(cmd.Env,
				"NOWD_UDP_LISTEN=:"+strconv.Itoa(textPort), "NOWD_NTP_LISTEN=:"+strconv.Itoa(ntpPort), "NOWD_TCP_LISTEN=off", "NOWD_HEALTH_LISTEN=off",
				"NOWD_RATE_LIMIT=1000000000", "NOWD_RATE_BURST=1000000000"), settings...)
			return cmd
		}
	}
	all := []xdpContestant{{"XDP", true, nowd("NOWD_XDP=" + serverLink)}, {"sockets", false, nowd()}}
	if !ntp {
		all = append(all, xdpContestant{"min", false, func(ctx context.Context) *exec.Cmd {
			return command(ctx, p.load, b.self, "serve", "min", "udp", netip.AddrPortFrom(serverAddr, textPort).String())
		}})
	}
	if b.limit != "" && !ntp {
		all = append(all, xdpContestant{"C", false, func(ctx context.Context) *exec.Cmd {
			return command(ctx, p.load, b.limit, strconv.Itoa(textPort), "batch")
		}})
	}
	return all
}

// measureXDP measures a scenario's rounds at a pair. Results are by contestant,
// then by round.
func (b *bench) measureXDP(ctx context.Context, s scenario) (contestants []contestant, results [][]result, err error) {
	if os.Geteuid() != 0 {
		return nil, nil, fmt.Errorf("%w: it takes root", errNotHere)
	}
	port, request := uint16(textPort), []byte("hi\n")
	if s.xdp.ntp {
		port, request = ntpPort, append([]byte{4<<3 | 3}, make([]byte, 47)...)
	}
	all := b.xdpContestants(s.xdp.ntp)
	if s.xdp.full {
		all = all[:1]
	}
	for _, c := range all {
		contestants = append(contestants, contestant{name: c.name})
	}
	results = make([][]result, len(all))
	w, err := newWire(b.cpus[0], port, request, !s.xdp.full)
	if err != nil {
		return nil, nil, err
	}
	defer w.close()
	for range s.rounds.of(b.pairs) {
		runs, err := w.calibrate(b.length, !s.xdp.full)
		if err != nil {
			return nil, nil, err
		}
		perRequest, err := w.measureDropped(runs, s.xdp.full)
		if err != nil {
			return nil, nil, err
		}
		for i, c := range all {
			r, err := w.measureServer(ctx, c, runs, perRequest, s.xdp.full)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", c.name, err)
			}
			results[i] = append(results[i], r)
		}
	}
	return contestants, results, nil
}

// interval returns what is between two bursts.
func (w *wire) interval(full bool) uint64 {
	if full {
		return 0
	}
	return w.memory.Interval
}

// measureDropped returns what a request takes that a program drops, in nanoseconds.
func (w *wire) measureDropped(runs uint32, full bool) (perRequest float64, err error) {
	l, err := w.put(xdpDrop)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	g, err := w.generate(runs, w.interval(full), 0)
	if err != nil {
		return 0, err
	}
	return float64(g.runTime-w.own(g)) / float64(max(1, g.sent)), nil
}

// measureServer starts a server, sends it requests, and ends it. The run time of
// the result is without the generator's share.
func (w *wire) measureServer(ctx context.Context, c xdpContestant, runs uint32, perRequest float64, full bool) (r result, err error) {
	if !c.driver {
		// Without any program, this end takes no frames from a program at the other.
		l, err := w.put(xdpPass)
		if err != nil {
			return r, err
		}
		defer l.Close()
	}
	s, err := w.server.start(ctx, c, w.client)
	if err != nil {
		return r, err
	}
	defer s.stop()
	g, err := w.generate(runs, w.interval(full), s.pid())
	if err != nil {
		return r, err
	}
	if g.answers == 0 {
		return r, errors.New("no answers")
	}
	r.Answers, r.All, r.Elapsed = g.answers, g.answers, g.elapsed-w.perCall
	r.Lost = g.sent - min(g.sent, g.answers)
	r.AllTime = g.runTime - w.perCall
	r.RunTime = g.runTime - w.own(g) - time.Duration(perRequest*float64(g.sent))
	return r, nil
}
