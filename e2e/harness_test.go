//go:build linux

// Package e2e_test starts the real nowd, and asks it for the time with common clients.
//
// A test that needs a missing program is skipped. With CI=true it fails.
package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	testVersion = "1.2.3-e2e"

	// patience is the time limit for what should take milliseconds: the host may be busy.
	patience = 15 * time.Second
	// interval is the time between two checks of a condition.
	interval = 2 * time.Millisecond
)

// binary is the path of the nowd under test.
var binary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	flag.Parse()
	// Parallel tests mostly wait for slow clients.
	if !isSet("test.parallel") {
		_ = flag.Set("test.parallel", "16")
	}
	dir, err := os.MkdirTemp("", "nowd-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "nowd")
	if out, err := build(binary).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func isSet(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// build returns the command that builds nowd as a static binary, as in the image, but with symbols. If the tests have the
// race detector, nowd has it too: after a race its exit status is not 0.
func build(path string) *exec.Cmd {
	cmd := exec.Command("go", "build", "-o", path, "-ldflags", "-X main.version="+testVersion)
	cgo := "0"
	if raceDetector {
		cmd.Args = append(cmd.Args, "-race")
		cgo = "1"
	}
	cmd.Args = append(cmd.Args, "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	return cmd
}

// tool returns the path of a program that the test needs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		lacking(t, err.Error())
	}
	return path
}

func inCI() bool { return os.Getenv("CI") == "true" }

// lacking skips a test that this machine cannot run. In CI it fails the test.
func lacking(t *testing.T, what string) {
	t.Helper()
	if inCI() {
		t.Fatal(what)
	}
	t.Skip(what)
}

// eventually waits until f returns no error.
func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(interval) {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %v", within, err)
		}
	}
}

// haveIPv6 reports whether this host has IPv6.
var haveIPv6 = sync.OnceValue(func() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
})

// portBlock is a block of ports to listen at. They are below the kernel's ephemeral ports, so no client of another test takes
// one before nowd does. The block belongs to this process while it holds the first port.
type portBlock struct {
	mu          sync.Mutex
	first, next int
	held        net.Listener // at the first port
}

const (
	blockSize = 200
	numBlocks = 100
	allBlocks = 10_000
)

var ports portBlock

func (b *portBlock) open() error {
	for i := range numBlocks {
		first := allBlocks + (os.Getpid()+i)%numBlocks*blockSize
		if l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", first)); err == nil {
			b.first, b.next, b.held = first, first+1, l
			return nil
		}
	}
	return errors.New("no free block of ports")
}

// freePort returns a port that is free at all addresses, over UDP and TCP.
func freePort(t *testing.T) string {
	t.Helper()
	b := &ports
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.first == 0 {
		if err := b.open(); err != nil {
			t.Fatal(err)
		}
	}
	for range blockSize {
		port := strconv.Itoa(b.next)
		if b.next++; b.next == b.first+blockSize {
			b.next = b.first + 1
		}
		if isFree(port) {
			return port
		}
	}
	t.Fatal("no free ports left")
	return ""
}

func isFree(port string) bool {
	// A process between fork and exec would hold these sockets.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return false
	}
	defer c.Close()
	return true
}

// everywhere returns settings to listen at a port of all addresses.
func everywhere(port string) []string {
	return []string{"NOWD_UDP_LISTEN=:" + port, "NOWD_TCP_LISTEN=:" + port}
}

// configuration is a set of settings that make no difference to clients.
type configuration struct {
	name  string
	loops int
	env   []string
}

var configurations = []configuration{
	{"epoll", 1, []string{"NOWD_POLLER=epoll", "NOWD_LOOPS=1"}},
	{"poll", 1, []string{"NOWD_POLLER=poll", "NOWD_LOOPS=1"}},
	{"select", 1, []string{"NOWD_POLLER=select", "NOWD_LOOPS=1"}},
	{"two loops", 2, []string{"NOWD_POLLER=auto", "NOWD_LOOPS=2"}},
}

// nowd is a running nowd.
type nowd struct {
	udp, tcp, health string // addresses to ask it at

	ns     *namespace // nil: the tests' namespace
	args   []string   // of its command line
	errors *os.File   // its standard error; nil: stderr
	cmd    *exec.Cmd
	stderr transcript
	exited chan struct{}
	over   bool // the test has waited for its end
}

// start starts nowd with these settings only, and waits until it is ready. By default it listens at ports of its own at
// 127.0.0.1, and its zone is UTC. A variable's name without a value removes the variable. At the end of the test nowd must end
// with status 0.
func start(t *testing.T, env ...string) *nowd {
	t.Helper()
	return startIn(t, nil, env...)
}

func startIn(t *testing.T, ns *namespace, env ...string) *nowd {
	t.Helper()
	n := launchIn(t, ns, env...)
	n.awaitReady(t, http.StatusOK)
	return n
}

// launch is start without waiting.
func launch(t *testing.T, env ...string) *nowd {
	t.Helper()
	return launchIn(t, nil, env...)
}

func launchIn(t *testing.T, ns *namespace, env ...string) *nowd {
	t.Helper()
	n, env := prepare(t, ns, env...)
	n.run(t, binary, env)
	return n
}

// prepare returns a nowd that does not run yet, and its environment.
func prepare(t *testing.T, ns *namespace, env ...string) (*nowd, []string) {
	t.Helper()
	port, healthPort := freePort(t), freePort(t)
	all := append([]string{
		"TZ=UTC",
		"GORACE=atexit_sleep_ms=0", // do not wait at exit for reports of races
		"NOWD_UDP_LISTEN=127.0.0.1:" + port,
		"NOWD_TCP_LISTEN=127.0.0.1:" + port,
		"NOWD_HEALTH_LISTEN=127.0.0.1:" + healthPort,
	}, env...)
	n := &nowd{
		udp:    reachable(setting(all, "NOWD_UDP_LISTEN")),
		tcp:    reachable(setting(all, "NOWD_TCP_LISTEN")),
		health: reachable(setting(all, "NOWD_HEALTH_LISTEN")),
		ns:     ns,
	}
	return n, slices.DeleteFunc(all, func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(all, name)
	})
}

// run starts the program at path. At the end of the test it must end with status 0.
func (n *nowd) run(t *testing.T, path string, env []string) {
	t.Helper()
	n.cmd, n.exited = exec.Command(path, n.args...), make(chan struct{})
	n.cmd.Env, n.cmd.Stderr = env, &n.stderr
	if n.errors != nil {
		n.cmd.Stderr = n.errors
	}
	on := nursery()
	if n.ns != nil {
		on = n.ns.thread
	}
	on.start(t, n.cmd)
	go func() {
		_ = n.cmd.Wait() // the tests read cmd.ProcessState
		close(n.exited)
	}()
	t.Cleanup(func() { n.end(t) })
}

// setting returns the last value of a variable.
func setting(env []string, name string) string {
	for _, e := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return ""
}

// reachable returns an address at which a listener at addr can be reached.
func reachable(addr string) string {
	if strings.HasPrefix(addr, ":") {
		return "127.0.0.1" + addr
	}
	return addr
}

// end ends nowd, unless the test has, and shows its log if the test failed.
func (n *nowd) end(t *testing.T) {
	if !n.over {
		select {
		case <-n.exited:
			t.Errorf("nowd ended by itself: %v", n.cmd.ProcessState)
		default:
			// If the test failed, nowd may be stopped, or about to end.
			_ = n.cmd.Process.Signal(syscall.SIGCONT)
			_ = n.cmd.Process.Signal(syscall.SIGTERM)
			if status := n.wait(t); status != 0 {
				t.Errorf("after SIGTERM nowd's exit status is %d, want 0", status)
			}
		}
	}
	if t.Failed() {
		t.Logf("nowd's log:\n%s", n.stderr.String())
	}
}

func (n *nowd) pid() int { return n.cmd.Process.Pid }

func (n *nowd) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := n.cmd.Process.Signal(sig); err != nil {
		t.Errorf("%v: %v", sig, err)
	}
}

// wait waits for the end that the test has caused. It returns the exit status, or -1 if a signal ended nowd.
func (n *nowd) wait(t *testing.T) int {
	t.Helper()
	n.over = true
	select {
	case <-n.exited:
	case <-time.After(patience):
		t.Errorf("nowd does not end within %v", patience)
		_ = n.cmd.Process.Kill()
		<-n.exited
	}
	return n.cmd.ProcessState.ExitCode()
}

// running reports whether nowd has not ended.
func (n *nowd) running() bool {
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// get sends a GET request to nowd's health endpoint.
func (n *nowd) get(path string, timeout time.Duration) (status int, body string, err error) {
	client := http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true, DialContext: n.dial}}
	r, err := client.Get("http://" + n.health + path)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	return r.StatusCode, string(b), err
}

func (n *nowd) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	if n.ns == nil {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	n.ns.do(func() { conn, err = (&net.Dialer{}).DialContext(ctx, network, addr) })
	return conn, err
}

// awaitReady waits until /ready has this status, and returns its body.
func (n *nowd) awaitReady(t *testing.T, want int) (body string) {
	t.Helper()
	eventually(t, patience, func() error {
		if !n.running() {
			t.Fatalf("nowd ended: %v", n.cmd.ProcessState)
		}
		got, said, err := n.get("/ready", time.Second)
		if err == nil && got != want {
			err = fmt.Errorf("/ready is %d, want %d: %s", got, want, said)
		}
		body = said
		return err
	})
	return body
}

// metric returns the value of a metric, given its name and labels in the text format.
func (n *nowd) metric(t *testing.T, name string) float64 {
	t.Helper()
	status, body, err := n.get("/metrics", patience)
	if err != nil || status != http.StatusOK {
		t.Fatalf("/metrics: %d, %v", status, err)
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

// awaitMetric waits until a metric has this value: a busy loop publishes its counters later.
func (n *nowd) awaitMetric(t *testing.T, name string, want float64) {
	t.Helper()
	eventually(t, patience, func() error {
		if got := n.metric(t, name); got != want {
			return fmt.Errorf("%s is %v, want %v", name, got, want)
		}
		return nil
	})
}

// portOf returns the port of an address.
func portOf(addr string) string { return strconv.Itoa(int(netip.MustParseAddrPort(addr).Port())) }

// transcript is a process's output, which others read while the process writes.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.b.Write(p)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.b.String()
}
