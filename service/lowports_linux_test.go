package service

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"nowd/config"
)

// inChild runs the calling test again in a child process, as root, and reports whether
// this is the child: a process cannot regain the capabilities that it drops.
func inChild(t *testing.T) bool {
	t.Helper()
	const child = "LOW_PORTS_CHILD"
	if os.Getenv(child) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, for its capabilities")
		}
		t.Skip("needs root, for its capabilities")
	}
	c := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), child+"=1")
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// allThreads reports whether the effective and the permitted set of every thread are
// effective.
func allThreads(t *testing.T, effective uint64) bool {
	t.Helper()
	want := fmt.Sprintf("CapPrm:\t%016x\nCapEff:\t%016[1]x\n", effective)
	return !slices.ContainsFunc(threads(t), func(status string) bool { return !strings.Contains(status, want) })
}

// TestRightToLowPortsIsGivenUpOnceTheyAreBound: nowd keeps CAP_NET_BIND_SERVICE while one
// of two addresses is taken, and drops it when that is free.
func TestRightToLowPortsIsGivenUpOnceTheyAreBound(t *testing.T) {
	if !inChild(t) {
		return
	}
	taken, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(taken, &unix.SockaddrInet4{Port: 1019, Addr: [4]byte{127, 88, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	s, log := startedWithoutCapabilities(t, "NOWD_UDP_LISTEN=127.88.0.1:1019", "NOWD_TCP_LISTEN=127.88.0.1:1018", "NOWD_LOOPS=2")
	eventually(t, "TCP is not served", func() bool { return asked("tcp", s.config.TCP) })
	if !allThreads(t, 1<<unix.CAP_NET_BIND_SERVICE) {
		t.Errorf("capabilities other than CAP_NET_BIND_SERVICE:\n%s", threads(t)[0])
	}
	_ = unix.Close(taken)
	eventually(t, "UDP is not served", func() bool { return asked("udp", s.config.UDP) })
	eventually(t, "capabilities are left", func() bool { return allThreads(t, 0) })
	if !asked("tcp", s.config.TCP) || !asked("udp", s.config.UDP) {
		t.Error("no answer afterwards")
	}

	// A listener that fails now is not reopened, which nowd reports. The other one serves on.
	if n := shutUpTo(t, s.config.TCP, 1); n != 1 {
		t.Fatalf("%d listeners were shut, want 1", n)
	}
	eventually(t, "the loss is not reported", func() bool { return s.endpoints[1].check() != nil })
	if err := s.endpoints[1].check(); !strings.Contains(err.Error(), "restart nowd") {
		t.Errorf("/ready says %v", err)
	}
	if got := log.String(); !strings.Contains(got, "restart nowd") || strings.Contains(got, "reopening") {
		t.Error("the log does not say to restart nowd")
	}
	for range 20 {
		if !asked("tcp", s.config.TCP) {
			t.Error("the other listener does not serve")
		}
	}
}

// startedWithoutCapabilities starts a service that drops capabilities, but is not
// restricted by Landlock: the test has to connect to it.
func startedWithoutCapabilities(t *testing.T, environ ...string) (*Service, *syncBuffer) {
	t.Helper()
	c, err := config.Load(append(environ, "NOWD_HEALTH_LISTEN=off", "NOWD_LOG_LEVEL=debug"))
	if err != nil {
		t.Fatal(err)
	}
	log := &syncBuffer{}
	s, err := New(c, "test", slog.New(slog.NewTextHandler(log, nil)), noDrops{})
	if err != nil {
		t.Fatal(err)
	}
	if err := dropCapabilities(s.neededCapabilities()); err != nil {
		t.Fatal(err)
	}
	signals, ended := make(chan os.Signal, 1), make(chan error)
	go func() { ended <- s.run(signals) }()
	t.Cleanup(func() {
		signals <- syscall.SIGTERM
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return s, log
}

// Without CAP_SETPCAP dropCapabilities keeps the bounding set and returns no error.
func TestCapabilitiesAreDroppedWithoutTheRightToTheBoundingSet(t *testing.T) {
	if !inChild(t) {
		return
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	bind := unix.CapUserData{Effective: 1 << unix.CAP_NET_BIND_SERVICE, Permitted: 1 << unix.CAP_NET_BIND_SERVICE, Inheritable: 1 << unix.CAP_NET_BIND_SERVICE}
	sets := [2]unix.CapUserData{bind}
	if _, _, errno := psx.Syscall3(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&sets[0])), 0); errno != 0 {
		t.Fatal(errno)
	}
	for _, keep := range []uint64{1 << unix.CAP_NET_BIND_SERVICE, 0} {
		if err := dropCapabilities(keep); err != nil || !allThreads(t, keep) {
			t.Errorf("%v\n%s", err, threads(t)[0])
		}
	}
}
