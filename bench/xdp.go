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

// The XDP scenarios measure answers of the driver. A server runs in a network namespace of
// its own, at one end of a veth pair. In the namespace of the other end, one program in the
// kernel sends requests, and another one counts the answers. So only the server uses user
// space and sockets. Measured is the run time on the whole machine: of the server, of
// ksoftirqd, and of the thread that runs the generator, in which the kernel does most of its
// work for a request.
//
// The cost of sending is subtracted. It is measured at the same rate with a program in place
// of the server that drops all requests. The generator never sleeps: if no request is due, it
// reads the clock and starts again. The cost of such a run is measured separately, and
// subtracted for each.

// The interfaces of the veth pair.
const (
	serverLink = "srv0"
	clientLink = "cli0"
)

var (
	serverAddr = netip.AddrFrom4([4]byte{192, 0, 2, 1})
	clientAddr = netip.AddrFrom4([4]byte{192, 0, 2, 2})
)

const textPort, ntpPort = 3333, 123

// xdpRate is the number of requests per second. It is less than half of what a server with
// sockets can answer on one processor, so that requests are lost only if something else
// takes that processor.
const xdpRate = 100_000

// veth is a veth pair, and the programs on it.
type veth struct {
	server, client *netns
	counter        link.Link
	count          *ebpf.Map
	state          *ebpf.Map
	initial        generatorState // state of the generator before a run
	size           int            // of a request's frame, in bytes
	generator      *ebpf.Program
	clientIndex    int
	serverIndex    int
	cpu            int
	perSkip        float64       // run time of a run that sends nothing, in nanoseconds
	perCall        time.Duration // run time of a call of generate with few runs: its fixed cost
}

// newVeth makes a veth pair, and a generator that sends request to port from processor cpu:
// with pace xdpRate times per second, otherwise as often as it can.
func newVeth(cpu int, port uint16, request []byte, pace bool) (v *veth, err error) {
	v = &veth{cpu: cpu}
	defer func() {
		if err != nil {
			v.close()
		}
	}()
	if v.server, err = newNetns(); err != nil {
		return nil, err
	}
	if v.client, err = newNetns(); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		at   *netns
		args string
	}{
		{v.server, "link add " + serverLink + " type veth peer name " + clientLink + " netns " + strconv.Itoa(v.client.thread)},
		{v.server, "link set lo up"},
		{v.server, "link set " + serverLink + " up"},
		{v.client, "link set " + clientLink + " up"},
		{v.server, "addr add " + serverAddr.String() + "/24 dev " + serverLink},
		{v.client, "addr add " + clientAddr.String() + "/24 dev " + clientLink},
	} {
		if err := c.at.ip(c.args); err != nil {
			return nil, err
		}
	}
	server, err := v.server.link(serverLink)
	if err != nil {
		return nil, err
	}
	client, err := v.client.link(clientLink)
	if err != nil {
		return nil, err
	}
	// A static neighbour entry. Without one, answers could wait for ARP.
	if err := v.server.ip("neigh add " + clientAddr.String() + " lladdr " + client.HardwareAddr.String() + " dev " + serverLink); err != nil {
		return nil, err
	}
	v.serverIndex, v.clientIndex = server.Index, client.Index
	frame := requestFrame([6]byte(server.HardwareAddr), [6]byte(client.HardwareAddr), port, request)
	v.size = copy(v.initial.Frame[:], frame)
	if pace {
		v.initial.Interval = uint64(burst * time.Second / xdpRate)
	}
	if v.count, err = newArray(8); err != nil {
		return nil, err
	}
	if v.state, err = newArray(unsafe.Sizeof(generatorState{})); err != nil {
		return nil, err
	}
	counter, err := newCounter(v.count, port)
	if err != nil {
		return nil, err
	}
	defer counter.Close()
	if v.counter, err = v.client.attach(counter, v.clientIndex); err != nil {
		return nil, err
	}
	if v.generator, err = newGenerator(v.state, len(frame), pace); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *veth) close() {
	if v.generator != nil {
		_ = v.generator.Close()
	}
	if v.counter != nil {
		_ = v.counter.Close()
	}
	for _, m := range []*ebpf.Map{v.state, v.count} {
		if m != nil {
			_ = m.Close()
		}
	}
	for _, ns := range []*netns{v.server, v.client} {
		if ns != nil {
			ns.close()
		}
	}
}

// attachVerdict attaches a program to the server's interface that returns action for every
// frame.
func (v *veth) attachVerdict(action int32) (link.Link, error) {
	p, err := verdict(action)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	return v.server.attach(p, v.serverIndex)
}

// generatorRun is the result of a call of generate.
type generatorRun struct {
	sent, skipped, answers uint64
	runTime                time.Duration // of the generator, ksoftirqd and the server
	elapsed                time.Duration
}

// generate runs the generator runs times, with interval nanoseconds between two bursts. pid is
// the process ID of the server, or 0 without one.
func (v *veth) generate(runs uint32, interval uint64, pid int) (g generatorRun, err error) {
	m := v.initial
	m.Interval = interval
	if interval == never {
		m.Next = never
	}
	if err := v.state.Put(uint32(0), &m); err != nil {
		return g, err
	}
	if err := v.count.Put(uint32(0), uint64(0)); err != nil {
		return g, err
	}
	frame := slices.Clone(v.initial.Frame[:v.size])
	v.client.do(func() {
		var set unix.CPUSet
		set.Set(v.cpu)
		if err = unix.SchedSetaffinity(0, &set); err != nil {
			return
		}
		var before, after time.Duration
		if before, err = v.runTime(pid); err != nil {
			return
		}
		began := time.Now()
		_, err = v.generator.Run(&ebpf.RunOptions{
			Data: frame, Context: &xdpContext{DataEnd: uint32(len(frame)), IngressIfindex: uint32(v.clientIndex)},
			Repeat: runs, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES,
		})
		g.elapsed = time.Since(began)
		if err != nil {
			return
		}
		// Wait for the answers to the last requests.
		for range 20 {
			var last uint64
			if err = v.count.Lookup(uint32(0), &last); err != nil {
				return
			}
			time.Sleep(2 * time.Millisecond)
			if err = v.count.Lookup(uint32(0), &g.answers); err != nil || g.answers == last {
				break
			}
		}
		after, err = v.runTime(pid)
		g.runTime = after - before
	})
	if err != nil {
		return g, err
	}
	err = v.state.Lookup(uint32(0), &m)
	g.sent, g.skipped = m.Sent, m.Skipped
	return g, err
}

// never is an interval in which no burst becomes due.
const never = 1 << 62

// xdpContext is struct xdp_md of linux/bpf.h.
type xdpContext struct {
	Data, DataEnd, DataMeta                     uint32
	IngressIfindex, RxQueueIndex, EgressIfindex uint32
}

// runTime returns the run time of the generator's thread, of ksoftirqd, and of process pid
// unless it is 0.
func (v *veth) runTime(pid int) (sum time.Duration, err error) {
	paths := []string{fmt.Sprintf("/proc/self/task/%d/schedstat", v.client.thread)}
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

// ksoftirqd returns the process IDs of the kernel threads of this name.
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

// calibrate measures perCall and perSkip, and returns the number of runs of the generator
// that take about length.
func (v *veth) calibrate(length time.Duration, pace bool) (runs uint32, err error) {
	const few, many = burst, 2_000_000
	least, err := v.generate(few, never, 0)
	if err != nil {
		return 0, err
	}
	v.perCall = least.runTime
	if !pace { // every run sends a request
		return uint32(length / (400 * time.Nanosecond)), nil
	}
	g, err := v.generate(many, never, 0)
	if err != nil {
		return 0, err
	}
	v.perSkip = float64(g.runTime-least.runTime) / (many - few)
	return uint32(float64(length) / v.perSkip), nil
}

// idleCost returns the run time that no request caused: perCall, and the runs that sent
// nothing.
func (v *veth) idleCost(g generatorRun) time.Duration {
	return v.perCall + time.Duration(float64(g.skipped)*v.perSkip)
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
		runtime.LockOSThread() // never unlocked: the thread exits with this goroutine, and its namespace with it
		ns.thread = unix.Gettid()
		started <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range ns.calls {
			f()
		}
	}()
	if err := <-started; err != nil {
		close(ns.calls)
		return nil, fmt.Errorf("%w: a network namespace: %w", errUnsupported, err)
	}
	return ns, nil
}

func (ns *netns) close() { close(ns.calls) }

// do runs f in the namespace, and waits for it.
func (ns *netns) do(f func()) {
	done := make(chan struct{})
	ns.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

// ip runs ip(8) in the namespace.
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

// start starts a server in the namespace, and waits until it answers a client in namespace
// client.
func (ns *netns) start(ctx context.Context, c xdpServer, client *netns) (s *process, err error) {
	ns.do(func() { s, err = startProcess(c.name, netip.AddrPortFrom(serverAddr, textPort), c.command(ctx)) })
	if err != nil {
		return nil, err
	}
	client.do(func() { err = s.awaitAnswer("udp") })
	if err != nil {
		s.stop()
		return nil, failure(c.name, err, s.stderr.String())
	}
	return s, nil
}

// xdpServer is a server to measure on a veth pair.
type xdpServer struct {
	name    string
	driver  bool // it attaches an XDP program of its own
	command func(ctx context.Context) *exec.Cmd
}

// xdpServers returns the servers of the XDP scenarios, for NTP or for text. The generator runs
// on the first processor, the servers on the last one.
func (b *bench) xdpServers(ntp bool) []xdpServer {
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
	all := []xdpServer{{"XDP", true, nowd("NOWD_XDP=" + serverLink)}, {"sockets", false, nowd()}}
	if !ntp {
		all = append(all, xdpServer{"min", false, func(ctx context.Context) *exec.Cmd {
			return command(ctx, p.load, b.self, "serve", "min", "udp", netip.AddrPortFrom(serverAddr, textPort).String())
		}})
	}
	if b.limit != "" && !ntp {
		all = append(all, xdpServer{"C", false, func(ctx context.Context) *exec.Cmd {
			return command(ctx, p.load, b.limit, strconv.Itoa(textPort), "batch")
		}})
	}
	return all
}

// measureXDP runs the rounds of an XDP scenario. results[i][j] is server i's result in round
// j.
func (b *bench) measureXDP(ctx context.Context, s scenario) (servers []server, results [][]result, err error) {
	if os.Geteuid() != 0 {
		return nil, nil, fmt.Errorf("%w: needs root", errUnsupported)
	}
	port, request := uint16(textPort), []byte("hi\n")
	if s.xdp.ntp {
		port, request = ntpPort, append([]byte{4<<3 | 3}, make([]byte, 47)...)
	}
	all := b.xdpServers(s.xdp.ntp)
	if s.xdp.full {
		all = all[:1]
	}
	for _, c := range all {
		servers = append(servers, server{name: c.name})
	}
	results = make([][]result, len(all))
	v, err := newVeth(b.cpus[0], port, request, !s.xdp.full)
	if err != nil {
		return nil, nil, err
	}
	defer v.close()
	for range s.rounds.of(b.pairs) {
		runs, err := v.calibrate(b.length, !s.xdp.full)
		if err != nil {
			return nil, nil, err
		}
		perRequest, err := v.measureDropped(runs, s.xdp.full)
		if err != nil {
			return nil, nil, err
		}
		for i, c := range all {
			r, err := v.measureServer(ctx, c, runs, perRequest, s.xdp.full)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", c.name, err)
			}
			results[i] = append(results[i], r)
		}
	}
	return servers, results, nil
}

// interval returns the time between two bursts, in nanoseconds.
func (v *veth) interval(full bool) uint64 {
	if full {
		return 0
	}
	return v.initial.Interval
}

// measureDropped returns the run time per request, in nanoseconds, if a program on the
// server's interface drops all requests.
func (v *veth) measureDropped(runs uint32, full bool) (perRequest float64, err error) {
	l, err := v.attachVerdict(xdpDrop)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	g, err := v.generate(runs, v.interval(full), 0)
	if err != nil {
		return 0, err
	}
	return float64(g.runTime-v.idleCost(g)) / float64(max(1, g.sent)), nil
}

// measureServer starts a server, sends requests, and kills it. The run time of the result is
// without idleCost, and without perRequest for each request.
func (v *veth) measureServer(ctx context.Context, c xdpServer, runs uint32, perRequest float64, full bool) (r result, err error) {
	if !c.driver {
		// Without a program, the interface receives no frames from a program at the other end.
		l, err := v.attachVerdict(xdpPass)
		if err != nil {
			return r, err
		}
		defer l.Close()
	}
	s, err := v.server.start(ctx, c, v.client)
	if err != nil {
		return r, err
	}
	defer s.stop()
	g, err := v.generate(runs, v.interval(full), s.pid())
	if err != nil {
		return r, err
	}
	if g.answers == 0 {
		return r, errors.New("no answers")
	}
	r.Answers, r.All, r.Elapsed = g.answers, g.answers, g.elapsed-v.perCall
	r.Lost = g.sent - min(g.sent, g.answers)
	r.AllTime = g.runTime - v.perCall
	r.RunTime = g.runTime - v.idleCost(g) - time.Duration(perRequest*float64(g.sent))
	return r, nil
}
