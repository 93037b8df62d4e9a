//go:build linux

// Package faults_test subjects a real nowd to the faults of a bad network, bad clients and a host in trouble, while
// honest clients ask it. It prints a table of what happens to them. Deliberate faults, the attacks, have a second
// table: the cost to the attacker, the clients and nowd. SECURITY.md has a copy of that one, with the figures of one
// run.
//
// As root it runs in a network namespace of its own. No other process is there whose ports, floods or counters could disturb
// it. Two variables make it run longer: NOWD_SESSIONS, the number of TCP sessions under the proxy's faults, and NOWD_SOAK, the
// time for which all faults run at once.
//
// A test that this machine cannot run is skipped. With CI=true it fails.
package faults_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

const (
	// patience is the time limit for what should take milliseconds: the host may be busy.
	patience = 15 * time.Second
	// interval is the time between two checks of a condition.
	interval = 10 * time.Millisecond

	binaryVariable   = "NOWD_FAULTS_BINARY"   // path of the nowd under test
	isolatedVariable = "NOWD_FAULTS_ISOLATED" // whether the tests have a namespace of their own, or why not
	roleVariable     = "NOWD_FAULTS_ROLE"     // the role of a process that runs no tests
)

var program = os.Getenv(binaryVariable)

// TestMain builds nowd, and runs the tests in another process, in a new network namespace.
func TestMain(m *testing.M) {
	if play, ok := roles[os.Getenv(roleVariable)]; ok {
		play()
		return
	}
	flag.Parse()
	if os.Getenv("NOWD_FAULTS") == "off" {
		fmt.Println("NOWD_FAULTS is off: these tests are for another time")
		return
	}
	if program == "" {
		os.Exit(outside())
	}
	if os.Getenv(isolatedVariable) == "true" {
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "ip: %v\n%s", err, out)
			os.Exit(1)
		}
	}
	status := m.Run()
	printFaults(os.Stdout)
	printAttacks(os.Stdout)
	security, err := os.ReadFile("../../SECURITY.md")
	if names := undocumented(string(security)); len(names) > 0 {
		fmt.Fprintf(os.Stderr, "SECURITY.md's table of attacks lacks %q (%v)\n", names, err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// outside builds nowd, runs the tests in a new process, and returns their exit status.
func outside() int {
	dir, err := os.MkdirTemp("", "nowd-faults-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "nowd")
	build := exec.Command("go", "build", "-o", path, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "go build: %v\n%s", err, out)
		return 1
	}
	err = inside(path, "true", syscall.CLONE_NEWNET)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		err = inside(path, err.Error(), 0)
	}
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return max(exit.ExitCode(), 1)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// inside runs the tests.
func inside(binary, isolated string, flags uintptr) error {
	if _, err := exec.LookPath("ip"); err != nil && flags != 0 {
		return err
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), binaryVariable+"="+binary, isolatedVariable+"="+isolated)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return guarded(cmd, flags, cmd.Run)
}

// guarded starts a process that the kernel kills when this one ends. The calling thread must not end before that process.
func guarded(cmd *exec.Cmd, flags uintptr, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: flags}
	return start()
}

// lacking skips a test that this machine cannot run. In CI it fails the test.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// needNamespace skips a test without a network namespace of its own. In CI it fails the test.
func needNamespace(t *testing.T) {
	t.Helper()
	if why := os.Getenv(isolatedVariable); why != "true" {
		lacking(t, "needs a network namespace: "+why)
	}
}

// eventually waits until f returns no error.
func eventually(t *testing.T, within time.Duration, f func() error) {
	t.Helper()
	if err := await(within, f); err != nil {
		t.Fatal(err)
	}
}

// await is eventually, but returns the error.
func await(within time.Duration, f func() error) error {
	for deadline := time.Now().Add(within); ; time.Sleep(interval) {
		err := f()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("after %v: %w", within, err)
		}
	}
}

// place is where processes run: the network namespace of a thread, or that of the tests.
type place interface {
	do(f func())
}

// here is the namespace of the tests. One thread starts the processes there, as at any place.
var here = sync.OnceValue(func() place { return newThread() })

// thread runs functions one after the other on one thread of the operating system.
type thread struct {
	id    int
	calls chan func()
}

func newThread() *thread {
	th := &thread{calls: make(chan func())}
	go func() {
		// Never unlocked, so that the thread ends with this goroutine, and runs no other.
		runtime.LockOSThread()
		for f := range th.calls {
			f()
		}
	}()
	th.do(func() { th.id = syscall.Gettid() })
	return th
}

func (th *thread) do(f func()) {
	done := make(chan struct{})
	th.calls <- func() {
		defer close(done)
		f()
	}
	<-done
}

// startIn starts a process at a place.
func startIn(t *testing.T, at place, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	at.do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
}

var ports struct {
	sync.Mutex
	next int
}

// freePort returns a port that is free over UDP and TCP. It is below the kernel's ephemeral ports.
func freePort(t *testing.T) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		ports.next = 12_000 + os.Getpid()%500*40
	}
	for range 1000 {
		port := ports.next
		if ports.next++; ports.next == 32_000 {
			ports.next = 12_000
		}
		if isFree(port) {
			return port
		}
	}
	t.Fatal("no free ports")
	return 0
}

func isFree(port int) bool {
	syscall.ForkLock.RLock() // a process between fork and exec would hold these sockets
	defer syscall.ForkLock.RUnlock()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{Port: port})
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenUDP("udp", &net.UDPAddr{Port: port})
	if err != nil {
		return false
	}
	defer c.Close()
	return true
}

// nowd is a running nowd. It serves at all addresses of its host.
type nowd struct {
	port, health int
	host         string // its only address; empty: all addresses
	at           place

	cmd    *exec.Cmd
	stderr transcript
	exited chan struct{}
}

// start starts nowd with these settings, waits until it is ready, and has it serve once, so that it allocates the
// memory that it keeps. It must run until the test ends.
func start(t *testing.T, at place, env ...string) *nowd {
	t.Helper()
	return startAs(t, at, exec.Command(program), env...)
}

// startAs is start with a command that executes nowd.
func startAs(t *testing.T, at place, cmd *exec.Cmd, env ...string) *nowd {
	t.Helper()
	n := &nowd{port: freePort(t), health: freePort(t), at: at, cmd: cmd, exited: make(chan struct{})}
	cmd.Env = append([]string{
		"TZ=UTC",
		fmt.Sprintf("NOWD_UDP_LISTEN=:%d", n.port),
		fmt.Sprintf("NOWD_TCP_LISTEN=:%d", n.port),
		fmt.Sprintf("NOWD_HEALTH_LISTEN=:%d", n.health),
	}, env...)
	if cmd.Stderr == nil {
		cmd.Stderr = &n.stderr
	}
	startIn(t, at, cmd)
	go func() {
		_ = cmd.Wait()
		close(n.exited)
	}()
	t.Cleanup(func() { n.end(t) })
	eventually(t, patience, func() error {
		if !n.running() {
			t.Fatalf("nowd ended: %v\n%s", cmd.ProcessState, n.stderr.String())
		}
		_, err := n.get("/ready", time.Second)
		return err
	})
	return n
}

// end ends nowd.
func (n *nowd) end(t *testing.T) {
	if !n.running() {
		t.Errorf("nowd ended by itself: %v", n.cmd.ProcessState)
	} else {
		_ = n.cmd.Process.Signal(syscall.SIGCONT)
		_ = n.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-n.exited:
		case <-time.After(patience):
			t.Errorf("nowd does not end")
			_ = n.cmd.Process.Kill()
			<-n.exited
		}
		if status := n.cmd.ProcessState.ExitCode(); status != 0 {
			t.Errorf("after SIGTERM its exit status is %d, want 0", status)
		}
	}
	if t.Failed() {
		log := n.stderr.String()
		t.Logf("nowd's log ends:\n%s", log[max(0, len(log)-4000):])
	}
}

func (n *nowd) pid() int { return n.cmd.Process.Pid }

func (n *nowd) running() bool {
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// addr returns an address to ask it at.
func (n *nowd) addr() string { return fmt.Sprintf("%s:%d", cmp.Or(n.host, "127.0.0.1"), n.port) }

// get sends a GET request to nowd's health endpoint.
func (n *nowd) get(path string, timeout time.Duration) (body string, err error) {
	// The thread of nowd's place opens sockets in nowd's namespace.
	conn, err := dialAt(n.at, "tcp", fmt.Sprintf("127.0.0.1:%d", n.health), timeout)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(timeout))
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}}
	r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d%s", n.health, path))
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s is %d: %s", path, r.StatusCode, b)
	}
	return string(b), err
}

func dialAt(at place, network, addr string, timeout time.Duration) (conn net.Conn, err error) {
	at.do(func() { conn, err = net.DialTimeout(network, addr, timeout) })
	return conn, err
}

// metrics returns nowd's metrics by name and labels, and by name alone, summed over all labels.
func (n *nowd) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	var body string
	eventually(t, patience, func() (err error) {
		body, err = n.get("/metrics", patience)
		return err
	})
	all := make(map[string]float64)
	for line := range strings.Lines(body) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		f, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("/metrics: %q", line)
		}
		all[name] += f
		if bare, _, labelled := strings.Cut(name, "{"); labelled {
			all[bare] += f
		}
	}
	return all
}

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
