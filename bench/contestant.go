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

// contestant is a server to be measured.
type contestant struct {
	name string
	// command makes the command that serves at addr.
	command func(ctx context.Context, cpus, network string, addr netip.AddrPort) (*exec.Cmd, error)
}

// yardstick is a contestant that this program is itself.
func yardstick(self, name string) contestant {
	return contestant{name, func(ctx context.Context, cpus, network string, addr netip.AddrPort) (*exec.Cmd, error) {
		return command(ctx, cpus, self, "serve", name, network, addr.String()), nil
	}}
}

// limits returns the contestants of the program that -limit names, which serves
// in each of its modes: over UDP it sends four answers with one call, or one.
func limits(program, network string) []contestant {
	limit := func(name string, mode ...string) contestant {
		return contestant{name, func(ctx context.Context, cpus, _ string, addr netip.AddrPort) (*exec.Cmd, error) {
			return command(ctx, cpus, program, append([]string{strconv.Itoa(int(addr.Port()))}, mode...)...), nil
		}}
	}
	if network == "udp" {
		return []contestant{limit("C", "batch", "4"), limit("C single", "single")}
	}
	return []contestant{limit("C", "tcp")}
}

// nowd is the service as it is installed, but for the limits that one host that
// asks without pause would run into. They are high, not off, so what they cost
// is measured, too.
func nowd(binary, name string, loops int) contestant {
	return contestant{name, func(ctx context.Context, cpus, network string, addr netip.AddrPort) (*exec.Cmd, error) {
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

// buildNowd builds the service of the module that the working directory is in,
// as an image has it.
func buildNowd(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "timetzdata", "-o", path, "nowd")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return failure("go build nowd", err, string(out))
	}
	return nil
}

// server is a running contestant.
type server struct {
	name   string
	addr   netip.AddrPort
	cmd    *exec.Cmd
	stderr strings.Builder // to be read when it has ended
	ended  chan struct{}
	err    error // why it ended
}

// start starts a contestant and waits until it answers.
func (c contestant) start(ctx context.Context, cpus, network string) (*server, error) {
	addr, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{name: c.name, addr: addr, ended: make(chan struct{})}
	if s.cmd, err = c.command(ctx, cpus, network, addr); err != nil {
		return nil, err
	}
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	if err := s.awaitAnswer(network); err != nil {
		s.stop()
		return nil, failure(c.name+" over "+network, err, s.stderr.String())
	}
	return s, nil
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// stop ends the server, and waits until it has.
func (s *server) stop() {
	_ = s.cmd.Process.Kill()
	<-s.ended
}

// awaitAnswer asks until the server answers with the time.
func (s *server) awaitAnswer(network string) error {
	err := errors.New("not asked yet")
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		select {
		case <-s.ended:
			return fmt.Errorf("it has ended: %w", s.err)
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

// checkTime checks that an answer is the time, to a minute.
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

// lastPort is where freePort goes on from. The ports are below those that the
// kernel, as a rule, gives to clients, so none of them has one before the server
// that it is meant for.
var lastPort atomic.Uint32

const firstPort, numPorts = 30_000, 2_700

// freePort returns an address of this host at which nothing listens.
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
