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
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// server is a program to measure. process is one run of it.
type server struct {
	name string
	// command returns the command that runs the server at addr, on cpus.
	command func(ctx context.Context, cpus, network string, addr netip.AddrPort) (*exec.Cmd, error)
}

// baseline returns one of the servers of this program: net or min.
func baseline(self, name string) server {
	return server{name, func(ctx context.Context, cpus, network string, addr netip.AddrPort) (*exec.Cmd, error) {
		return command(ctx, cpus, self, "serve", name, network, addr.String()), nil
	}}
}

// limitServers returns the program of -limit in each of its modes for the network. Over
// UDP it sends one answer with each system call. C receives up to 64 requests with one,
// as nowd does, and C single receives one.
func limitServers(program, network string) []server {
	limit := func(name string, mode ...string) server {
		return server{name, func(ctx context.Context, cpus, _ string, addr netip.AddrPort) (*exec.Cmd, error) {
			return command(ctx, cpus, program, append([]string{strconv.Itoa(int(addr.Port()))}, mode...)...), nil
		}}
	}
	if network == "udp" {
		return []server{limit("C", "batch", "1"), limit("C single", "single")}
	}
	return []server{limit("C", "tcp")}
}

// nowd returns nowd with its default settings, except for the limits that a load from one
// host exceeds. They are raised, not disabled, so that their cost is measured.
func nowd(binary, name string, loops int) server {
	return server{name, func(ctx context.Context, cpus, network string, addr netip.AddrPort) (*exec.Cmd, error) {
		health, err := freePort()
		if err != nil {
			return nil, err
		}
		cmd := command(ctx, cpus, binary)
		cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "NOWD_") })
		cmd.Env = append(cmd.Env,
			"NOWD_UDP_LISTEN=off", "NOWD_TCP_LISTEN=off",
			"NOWD_"+strings.ToUpper(network)+"_LISTEN="+addr.String(), // the last one counts
			"NOWD_HEALTH_LISTEN="+health.String(),
			"NOWD_LOOPS="+strconv.Itoa(loops),
			"NOWD_RATE_LIMIT=1000000000", "NOWD_RATE_BURST=1000000000",
			"NOWD_TCP_MAX_CONNS=100000")
		return cmd, nil
	}}
}

// buildNowd builds nowd as the Dockerfile does, but with symbols, from the module of the
// working directory.
func buildNowd(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "timetzdata", "-o", path, "nowd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return failure("go build nowd", err, string(out))
	}
	return nil
}

// process is a running server.
type process struct {
	name   string
	addr   netip.AddrPort
	cmd    *exec.Cmd
	stderr strings.Builder // read it only after exited is closed
	exited chan struct{}   // closed at exit
}

// startProcess starts the command of a server that will answer at addr.
func startProcess(name string, addr netip.AddrPort, cmd *exec.Cmd) (*process, error) {
	s := &process{name: name, addr: addr, cmd: cmd, exited: make(chan struct{})}
	cmd.Stderr = &s.stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(s.exited)
	}()
	return s, nil
}

// start starts s on cpus, and waits until it answers.
func (c server) start(ctx context.Context, cpus, network string) (*process, error) {
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	cmd, err := c.command(ctx, cpus, network, addr)
	if err != nil {
		return nil, err
	}
	s, err := startProcess(c.name, addr, cmd)
	if err != nil {
		return nil, err
	}
	if err := s.awaitAnswer(network); err != nil {
		s.stop()
		return nil, failure(c.name+" over "+network, err, s.stderr.String())
	}
	return s, nil
}

func (s *process) pid() int { return s.cmd.Process.Pid }

// stop kills the server, and waits for its exit.
func (s *process) stop() {
	_ = s.cmd.Process.Kill()
	<-s.exited
}

// awaitAnswer sends requests until the server answers, for at most 10 s. The answer must
// be the time.
func (s *process) awaitAnswer(network string) error {
	err := errors.New("not asked yet")
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		select {
		case <-s.exited:
			return fmt.Errorf("the server exited: %v", s.cmd.ProcessState)
		default:
		}
		var answer string
		if answer, err = ask(network, s.addr); err == nil {
			return checkTime(answer)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("no answer: %w", err)
}

func ask(network string, addr netip.AddrPort) (string, error) {
	c, err := net.Dial(network, addr.String())
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := c.Write([]byte(request + "\n")); err != nil {
		return "", err
	}
	b := make([]byte, 256)
	n, err := c.Read(b)
	return string(b[:n]), err
}

// checkTime checks that an answer is the current time, to within a minute.
func checkTime(answer string) error {
	at, err := time.ParseInLocation(layout, answer, time.Local)
	if err != nil {
		return fmt.Errorf("not a time: %w", err)
	}
	if off := time.Since(at).Abs(); off > time.Minute {
		return fmt.Errorf("%q is off by %v", answer, off)
	}
	return nil
}

// lastPort is the port that freePort returned last, as an offset from firstPort. The ports
// are below the kernel's default range of ephemeral ports (ip(7), ip_local_port_range), so
// that no client takes a port before the server binds to it.
var lastPort atomic.Uint32

const firstPort, numPorts = 30_000, 2_700

// freePort returns a loopback address whose port is free for TCP and for UDP.
func freePort() (netip.AddrPort, error) {
	lastPort.CompareAndSwap(0, uint32(os.Getpid()%numPorts))
	for range numPorts {
		port := firstPort + lastPort.Add(1)%numPorts
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
		if isFree(addr) {
			return addr, nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("no free port from %d on", firstPort)
}

func isFree(addr netip.AddrPort) bool {
	l, err := net.Listen("tcp4", addr.String())
	if err != nil {
		return false
	}
	defer l.Close()
	c, err := net.ListenPacket("udp4", addr.String())
	if err != nil {
		return false
	}
	defer c.Close()
	return true
}
